"""Sizes and bytes from a configuration, against real models and real tensors."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from revlm import cli
from revlm.config import ModelConfig, OptimizerConfig, OptimizerName, Strategy
from revlm.costs import memory
from revlm.costs.accelerators import ACCELERATORS
from revlm.costs.arithmetic import empty_model, numbers_tokenizer, of_depth, size_of
from revlm.models.backbone import from_config
from revlm.training.optimizers import build_optimizer, group_names
from tests.conftest import TINY

SHAPES = {
    "llama": ModelConfig(config=dict(TINY)),
    "untied": ModelConfig(config=TINY | {"tie_word_embeddings": False, "num_hidden_layers": 3}),
    "gpt2": ModelConfig(type="gpt2", config={"n_embd": 32, "n_layer": 3, "n_head": 2}),
    "qwen3": ModelConfig(type="qwen3", config=TINY | {"head_dim": 16, "num_key_value_heads": 1}),
}


def options(*overrides):
    """Of training, as the command line would make them."""
    return cli.declared("train", cli.compose("train", overrides))


@pytest.fixture(params=SHAPES)
def model(request):
    """A small model with random weights."""
    torch.manual_seed(0)
    return from_config(SHAPES[request.param], numbers_tokenizer(300), 65)


def test_parts_add_up_to_the_parameters_of_the_model(model):
    """No parameter is forgotten, and none is counted twice where the output is tied to the embeddings."""
    size = size_of(model, 65)
    assert size.total == model.num_parameters()
    assert {"embeddings", "attention", "feed-forward", "norms and biases"} <= set(size.parameters)
    assert ("output" in size.parameters) is not model.config.tie_word_embeddings


def test_reading_a_token_takes_a_third_of_training_on_it(model):
    """Within 2% of every product that torch counts in a forward pass."""
    model.set_attn_implementation("eager")
    ids = torch.zeros((2, 65), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, use_cache=False)
    assert size_of(model, 65).reading_flops * ids.numel() == pytest.approx(
        counter.get_total_flops(), rel=0.02
    )


@pytest.mark.parametrize("name", list(OptimizerName))
def test_the_optimisers_state_is_as_large_as_its_tensors(model, name):
    """Two numbers a parameter under AdamW, one a matrix under Muon."""
    config = OptimizerConfig(name=name)
    groups = group_names(model, config)
    optimizer = build_optimizer(model, config, groups)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    kept = [
        value
        for member in getattr(optimizer, "members", [optimizer])
        for state in member.state.values()
        for key, value in state.items()
        if torch.is_tensor(value) and key != "step"
    ]
    assert memory.state_numbers(model, config) == sum(value.numel() for value in kept)


def saved_bytes(model, rows, row_length, *, packed):
    """What autograd keeps of a real forward pass of the body, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.zeros((rows, row_length), dtype=torch.int64)
    positions = torch.arange(row_length).remainder(row_length // 2).expand(rows, row_length)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.base_model(input_ids=ids, use_cache=False, **({"position_ids": positions} if packed else {}))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("packed", [True, False])
def test_activations_are_what_autograd_keeps(packed):
    """Traced on two layers without any memory, for a model of five; a mask only where rows are packed."""
    model = from_config(
        ModelConfig(config=TINY | {"num_hidden_layers": 5}), numbers_tokenizer(300), 65
    ).train()
    found = memory.activations(model.config, rows=3, row_length=65, packed=packed)
    assert found == pytest.approx(saved_bytes(model, 3, 65, packed=packed), rel=0.01)


def test_a_shallow_model_has_the_layers_it_is_given():
    """Also where the configuration says something of each layer."""
    whole = from_config(
        ModelConfig(type="qwen3", config=TINY | {"head_dim": 16, "num_hidden_layers": 4}),
        numbers_tokenizer(300),
        65,
    )
    one, two = (of_depth(whole.config, layers).num_parameters() for layers in (1, 2))
    assert one + 3 * (two - one) == whole.num_parameters()


def test_sharding_divides_weights_and_not_activations():
    """fsdp over eight devices; ddp keeps all of them on each."""
    config = options("scale=smoke")
    model = empty_model(config)
    common = {
        "optimizer": config.optimizer,
        "precision": "32-true",
        "rows": 4,
        "row_length": 65,
        "packed": True,
        "base": 1.0,
    }
    alone = memory.training_memory(model, strategy=Strategy.auto, world=1, **common)
    sharded = memory.training_memory(model, strategy=Strategy.fsdp, world=8, **common)
    copied = memory.training_memory(model, strategy=Strategy.ddp, world=8, **common)
    for part in ("weights", "gradients", "optimiser state"):
        assert sharded[part] == alone[part] / 8
        assert copied[part] == alone[part]
    assert sharded["activations"] == alone["activations"]


def test_seventy_billion_parameters_need_no_memory():
    """Shapes alone: 70.6B parameters, their bytes and their arithmetic, with nothing to download."""
    llama = "{hidden_size: 8192, intermediate_size: 28672, num_hidden_layers: 80, num_attention_heads: 64, num_key_value_heads: 8}"
    config = options("scale=paper", "model=custom", f"+model.config={llama}", "tokenizer.vocab_size=128256")
    model = empty_model(config)
    size = size_of(model, 2049)
    assert all(p.is_meta for p in model.parameters())
    assert size.total == pytest.approx(70.55e9, rel=1e-3)
    assert size.training_flops == pytest.approx(
        6 * (size.total - size.parameters["embeddings"]) + 12 * 80 * 2049 * 8192, rel=0.01
    )
    assert memory.activations(model.config, rows=1, row_length=2049, packed=True, held=torch.bfloat16) > 1e9


def test_every_accelerator_is_faster_in_bfloat16():
    """A peak with the wrong number of zeros would show."""
    for device in ACCELERATORS.values():
        assert 1e14 < device.bfloat16 < 3e15
        assert device.float32 < device.bfloat16
        assert 20e9 < device.memory < 300e9
