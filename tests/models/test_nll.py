"""Token losses against transformers' own, and the leaks that would fake them."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from revlm.config import ModelConfig
from revlm.data.streams import IGNORE, EvalStream, RowBuilder
from revlm.direction import Direction, orient
from revlm.models.backbone import from_config
from revlm.models.nll import TokenLoss, check_windows_apart, is_causal
from tests.conftest import one_window_row


def losses(model, row, labels, positions):
    with torch.no_grad():
        return TokenLoss(model).token_nll(row, labels, positions)


@pytest.fixture
def documents(store):
    """Ids of a few real documents of different lengths."""
    return [np.asarray(store.document(d)[:100]) for d in (0, 5, 17, 40)]


def test_nll_equals_transformers_own_loss(tiny_lm, layout, documents):
    """The mean of token losses is what transformers returns for the same labels."""
    for ids in documents:
        row, labels, positions = one_window_row(ids, layout)
        nll = losses(tiny_lm, row, labels, positions)
        reference = tiny_lm(input_ids=row, labels=labels).loss
        assert torch.allclose(nll.sum() / len(ids), reference, atol=1e-6)


def test_a_model_with_capped_logits_is_scored_by_its_own_logits(layout, documents):
    """Where logits are no linear map of hidden states, the model's own way to make them is replayed."""
    config = AutoConfig.for_model(
        "gemma2", vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, final_logit_softcapping=0.5, max_position_embeddings=128,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    row, labels, positions = one_window_row(documents[0], layout)
    nll = losses(model, row, labels, positions)
    reference = model(input_ids=row, labels=labels).loss
    assert not TokenLoss(model).linear
    assert TokenLoss(model).replayed
    assert torch.allclose(nll.sum() / len(documents[0]), reference, atol=1e-5)
    TokenLoss(model).sum_nll(row, labels, positions).backward()
    chunked = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    (model(input_ids=row, labels=labels).loss * len(documents[0])).backward()
    for ours, own in zip(chunked, model.parameters(), strict=True):
        assert torch.allclose(ours, own.grad, atol=1e-4, rtol=1e-4)


def test_gradients_equal_transformers_own(tiny_lm, layout, documents):
    """The chunked loss moves weights as the plain one does."""
    row, labels, positions = one_window_row(documents[2], layout)
    TokenLoss(tiny_lm).sum_nll(row, labels, positions).backward()
    chunked = [p.grad.clone() for p in tiny_lm.parameters()]
    tiny_lm.zero_grad()
    logits = tiny_lm(input_ids=row).logits[0, :-1]
    torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum").backward()
    for ours, reference in zip(chunked, tiny_lm.parameters(), strict=True):
        assert torch.allclose(ours, reference.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("direction", list(Direction))
def test_no_token_sees_what_comes_later(tiny_lm, layout, documents, direction):
    """Changing input j leaves all logits before j equal to the bit, in both directions."""
    ids = orient(documents[3], direction)
    row, _, positions = one_window_row(ids, layout)
    before = tiny_lm(input_ids=row, position_ids=positions, use_cache=False).logits
    for j in (1, len(ids) // 2, len(ids)):
        changed = row.clone()
        changed[0, j] = (changed[0, j] + 1) % 512
        after = tiny_lm(input_ids=changed, position_ids=positions, use_cache=False).logits
        assert torch.equal(before[:, :j], after[:, :j])
        assert not torch.equal(before[:, j:], after[:, j:])


def test_losses_belong_to_the_token_they_predict(tiny_lm, layout, documents):
    """Changing the last input changes its own loss and no other: nothing is shifted by one."""
    row, labels, positions = one_window_row(documents[1], layout)
    nll = losses(tiny_lm, row, labels, positions)
    changed, wanted = row.clone(), labels.clone()
    changed[0, -1] = wanted[0, -1] = (row[0, -1] + 1) % 512
    after = losses(tiny_lm, changed, wanted, positions)
    assert torch.equal(nll[:, :-1], after[:, :-1])
    assert nll[0, -1] != after[0, -1]


def test_uniform_noise_cannot_be_learned(layout, tokenizer, tiny_lm):
    """On i.i.d. uniform tokens the loss stays above 0.9 ln V, however long one trains."""
    torch.manual_seed(0)
    loss = TokenLoss(tiny_lm.train())
    optimizer = torch.optim.AdamW(tiny_lm.parameters(), lr=3e-3)
    for step in range(120):
        ids = torch.randint(4, 512, (16, 33), generator=torch.Generator().manual_seed(step))
        ids[:, 0] = layout.bos
        labels = torch.where(torch.arange(33) > 0, ids, IGNORE)
        positions = torch.arange(33).expand(16, 33)
        mean = loss.sum_nll(ids, labels, positions) / (16 * 32)
        mean.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert mean.item() > 0.9 * np.log(512)


def test_packed_documents_do_not_see_each_other(tiny_lm, store, layout):
    """Changing document A changes document B's logits by exactly zero."""
    stream = EvalStream(store, layout, direction=Direction.FORWARD, batch_size=4, max_tokens=None)
    batch, r = next((b, r) for b in stream for r in range(4) if len(b["doc_id"][r].unique()) > 2)
    mine = batch["doc_id"][r] == batch["doc_id"][r, 0]
    changed = batch["input_ids"].clone()
    changed[r, mine] = (changed[r, mine] + 7) % 512
    logits = [
        tiny_lm(input_ids=ids, position_ids=batch["position_ids"], use_cache=False).logits[r]
        for ids in (batch["input_ids"], changed)
    ]
    assert torch.equal(logits[0][~mine], logits[1][~mine])
    assert not torch.equal(logits[0][mine], logits[1][mine])


def test_a_model_that_lets_packed_windows_leak_is_found(tiny_lm):
    """The check before training tells models that keep windows apart from those that do not."""
    leaking = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(
            "opt", vocab_size=512, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64,
            word_embed_proj_dim=32, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    assert check_windows_apart(tiny_lm)
    assert not check_windows_apart(leaking.eval())


def test_dropout_does_not_fool_the_checks(tokenizer):
    """A model in training mode is probed without its dropout, and stays in training mode."""
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2}
    model = from_config(ModelConfig(type="gpt2", config=shape), tokenizer, 65).train()
    assert model.config.resid_pdrop > 0
    assert check_windows_apart(model)
    assert TokenLoss(model).linear
    assert model.training


@pytest.mark.parametrize("direction", list(Direction))
def test_packing_padding_and_batch_never_change_a_score(tiny_lm, store, layout, direction):
    """A window's losses are the same alone, padded, packed and in any batch, to 1e-5."""
    alone = {}
    stream = EvalStream(store, layout, direction=direction, batch_size=3, max_tokens=2000)
    for item in range(len(stream.windows)):
        batch = RowBuilder(store, stream.windows, layout).batch([(direction, [item])], 0)
        nll = losses(tiny_lm, batch["input_ids"], batch["labels"], batch["position_ids"])
        alone[item] = nll[batch["labels"] != IGNORE]
    for batch_size in (1, 5):
        rows = [stream.rows[r] for r in range(len(stream.rows))]
        for group in (rows[i : i + batch_size] for i in range(0, len(rows), batch_size)):
            batch = stream.builder.batch([(direction, items) for items in group], 0)
            nll = losses(tiny_lm, batch["input_ids"], batch["labels"], batch["position_ids"])
            got = nll[batch["labels"] != IGNORE]
            expected = torch.cat([alone[item] for items in group for item in items])
            assert torch.allclose(got, expected, atol=1e-5)


def test_a_palindrome_is_equally_hard_both_ways(tiny_lm, layout, documents):
    """A text that reads the same both ways has the same losses both ways."""
    half = documents[0][:20]
    ids = np.concatenate((half, half[::-1]))
    forward, reverse = (losses(tiny_lm, *one_window_row(orient(ids, d), layout)).sum() for d in Direction)
    assert forward == reverse


def test_reversing_a_document_swaps_its_losses(tiny_lm, layout, documents):
    """For one model, S of the reversed document is minus S of the document."""
    ids = documents[1]

    def s(window):
        forward, reverse = (
            losses(tiny_lm, *one_window_row(orient(window, d), layout)).sum() for d in Direction
        )
        return forward - reverse

    assert s(ids) == -s(ids[::-1])
    assert s(ids) != 0


def test_the_training_loss_of_a_bfloat16_model_is_summed_in_float32(tiny_lm, layout, documents):
    """The sum is not rounded to bfloat16, and gradients flow."""
    row, labels, positions = one_window_row(documents[0], layout)
    loss = TokenLoss(tiny_lm.bfloat16())
    total = loss.sum_nll(row, labels, positions)
    total.backward()
    assert total.dtype == torch.float32
    assert torch.allclose(total.detach(), losses(tiny_lm, row, labels, positions).sum(), rtol=1e-5)
    assert all(p.grad is not None for p in tiny_lm.parameters())


def test_a_model_that_sees_the_future_is_found(tiny_lm):
    """A bidirectional architecture would learn to copy its targets."""
    bert = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(
            "bert",
            vocab_size=512,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
        )
    )
    assert is_causal(tiny_lm)
    assert not is_causal(bert)


def test_bfloat16_losses_are_float32_from_the_logits_on(tiny_lm, layout, documents):
    """Losses of a bf16 model are computed in float32."""
    row, labels, positions = one_window_row(documents[0], layout)
    nll = losses(tiny_lm.bfloat16(), row, labels, positions)
    assert nll.dtype == torch.float32
    assert len(nll[labels != IGNORE].unique()) > 0.8 * len(documents[0])


def test_rows_of_one_window_need_no_mask(tiny_lm, layout, documents):
    """Windows that begin where their rows do are read without a mask of T times T, padding or not; others with one."""
    row, labels, positions = one_window_row(documents[0], layout)
    padding = torch.zeros(1, 7, dtype=torch.int64)
    ids, wanted, at = (
        torch.cat((given, more), 1)
        for given, more in ((row, padding), (labels, padding + IGNORE), (positions, padding))
    )
    loss, seen = TokenLoss(tiny_lm), []
    hook = tiny_lm.base_model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["position_ids"] is None), with_kwargs=True
    )
    with torch.no_grad():
        padded = loss.token_nll(ids, wanted, at)
        plain = loss.token_nll(row, labels, positions)
        loss.token_nll(*(torch.cat((each, each), 1) for each in (row, labels, positions)))
    hook.remove()
    assert seen == [True, True, False]
    assert torch.allclose(padded[:, : row.shape[1]], plain, atol=1e-6)
    assert not padded[:, row.shape[1] :].any()
