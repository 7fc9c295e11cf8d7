"""What training costs, against what can be counted."""

import json
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from revlm.config import ModelConfig
from revlm.models.backbone import from_config
from revlm.training.throughput import device_name, flops_per_token, peak_flops, peak_memory_mb
from tests.conftest import TINY

CPU = torch.device("cpu")
SHAPES = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "grouped queries": {"num_attention_heads": 4, "num_key_value_heads": 2},
    "wide heads": {"head_dim": 32},
    "deep": {"num_hidden_layers": 3},
}


@pytest.mark.parametrize("row_length", [17, 65])
@pytest.mark.parametrize("shape", SHAPES)
def test_flops_equal_what_torch_counts(tokenizer, shape, row_length):
    """The formula against every product that forward and backward do."""
    model = from_config(ModelConfig(config=TINY | SHAPES[shape]), tokenizer, 130)
    # Fused attention computes its scores twice, and the counter counts that.
    model.set_attn_implementation("eager")
    ids = torch.zeros((2, row_length), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    # Rotary positions are products of one number each, which the formula leaves out.
    assert flops_per_token(model, row_length) * ids.numel() == pytest.approx(
        counter.get_total_flops(), rel=2e-3
    )


def test_lookups_are_no_products(tokenizer):
    """GPT-2 looks up positions, too; its output embedding is tied and does multiply."""
    config = {"n_embd": 32, "n_layer": 2, "n_head": 2}
    model = from_config(ModelConfig(type="gpt2", config=config), tokenizer, 130)
    matrices = 2 * 12 * 32 * 32 + 512 * 32
    assert flops_per_token(model, 65) == 6 * matrices + 12 * 2 * 65 * 32


def test_the_benchmark_is_short_and_sane():
    """Less than half a second, and not beyond any processor."""
    started = time.perf_counter()
    peak = peak_flops(CPU, torch.float32)
    assert time.perf_counter() - started < 2  # machines under load
    assert 1e7 < peak < 1e15


def test_memory_and_device_are_of_this_machine():
    """A resident process of Python and torch takes more than 50 MiB and less than a terabyte."""
    assert 50 < peak_memory_mb(CPU) < 1 << 20
    assert device_name(CPU).startswith("cpu (")
    assert f"{torch.get_num_threads()} threads)" in device_name(CPU)


def test_the_summary_says_what_the_run_cost(smoke_run):
    """MFU is the model's own arithmetic by the peak that was measured."""
    summary = json.loads((smoke_run / "summary.json").read_text())
    assert summary["device"].startswith("cpu (")
    assert summary["tokens_per_second"] == pytest.approx(summary["tokens"] / summary["seconds"])
    used = summary["flops_per_token"] * summary["tokens_per_second"]
    assert summary["mfu"] == pytest.approx(used / summary["peak_flops"])
    assert 0 < summary["mfu"] < 1
    assert summary["peak_memory_mb"] > 0
