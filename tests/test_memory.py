"""Work that would not fit into memory is refused before it begins."""

from types import SimpleNamespace

import pytest
import torch

from revlm import memory
from revlm.config import TrainConfig
from revlm.data.layout import Layout
from revlm.data.streams import RowBuilder
from revlm.data.tokens import TokenIds
from revlm.data.windows import cut_windows
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.models.nll import TokenLoss
from revlm.training.build import check_memory


def run_of(tokenizer, *, packed, window=100_000, resamples=0):
    """Options of a run, and what of its data decides the memory that it takes."""
    config = TrainConfig()
    config.curves.resamples, config.trainer.accelerator = resamples, "cpu"
    layout = Layout.of(tokenizer, window=window, packed=packed, tags={})
    share = SimpleNamespace(micro_batch_size=8)
    return config, SimpleNamespace(layout=layout, share=lambda *_: share)


def test_what_is_free_is_known_on_linux():
    """Some memory is free while this test runs, or nothing is said of it."""
    free = memory.available()
    assert free is None or free > 1_000_000


def test_a_mask_of_packed_rows_is_refused_with_its_size_and_the_way_out(tokenizer, monkeypatch):
    """Eight packed rows of 100,001 tokens need 800 GB; padded ones have no mask."""
    monkeypatch.setattr(memory, "available", lambda: 8_000_000_000)
    with pytest.raises(
        UserError, match=r"8 packed rows of 100001 tokens would take 800.0 GB .* data.packing=padded"
    ):
        check_memory(*run_of(tokenizer, packed=True))
    check_memory(*run_of(tokenizer, packed=False))


def test_curves_that_do_not_fit_are_refused(tokenizer, monkeypatch):
    """Resamples of 100,000 positions need more memory than most machines have."""
    monkeypatch.setattr(memory, "available", lambda: 8_000_000_000)
    with pytest.raises(
        UserError, match=r"curves.resamples=1000 would take 12.8 GB .* lower curves.resamples"
    ):
        check_memory(*run_of(tokenizer, packed=False, resamples=1000))


def test_a_padded_row_has_the_same_losses_without_positions(tiny_lm, tokenizer):
    """Padding stands behind all tokens, so a causal model needs no mask to leave it alone."""
    layout = Layout.of(tokenizer, window=12, packed=False, tags={})
    documents = TokenIds.of([[5, 6, 7, 8, 9, 10, 11], list(range(20, 32))])
    windows = cut_windows(documents, torch.arange(2).numpy(), layout.window)
    batch = RowBuilder(documents, windows, layout).batch(
        [(way, [item]) for item, way in enumerate(Direction)], 1
    )
    loss = TokenLoss(tiny_lm.eval())
    ids, labels = batch["input_ids"], batch["labels"]
    with torch.no_grad():
        torch.testing.assert_close(
            loss.token_nll(ids, labels), loss.token_nll(ids, labels, batch["position_ids"])
        )
