"""Memory of one device by part, and of the disk, in bytes. Nothing is allocated: shapes are traced on fake tensors."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PretrainedConfig, PreTrainedModel

from revlm.config import OptimizerConfig, Strategy
from revlm.costs.arithmetic import of_depth
from revlm.models.nll import CHUNK_LOGITS, CHUNK_TOKENS
from revlm.training.optimizers import group_names

# Lightning's precision -> type of the weights, and type of the products where that is another.
TYPES: dict[str, tuple[torch.dtype, torch.dtype | None]] = {
    "32-true": (torch.float32, None),
    "64-true": (torch.float64, None),
    "16-true": (torch.float16, None),
    "bf16-true": (torch.bfloat16, None),
    "16-mixed": (torch.float32, torch.float16),
    "bf16-mixed": (torch.float32, torch.bfloat16),
}
# A GPU's context, its libraries and their workspaces.
GPU_BASE = 1.5e9
# AdamW keeps two numbers a parameter, Muon one.
KEPT = {"muon": 1, "decayed": 2, "plain": 2}
# Logits of a chunk, their softmax and their gradient, in float32.
LOGITS, LOGITS_BYTES = 3, 4
# FSDP gathers a layer while it works on another.
GATHERED = 2
# Tokens whose logits a GPU makes at once, in chunks of a CPU's.
GPU_CHUNKS = 16
# metrics, curves, two pictures, W&B's offline files.
RECORDS = 2e6


def training_memory(
    model: PreTrainedModel,
    *,
    optimizer: OptimizerConfig,
    precision: str,
    strategy: Strategy,
    world: int,
    rows: int,
    row_length: int,
    packed: bool,
    base: float,
) -> dict[str, float]:
    """Bytes that each device needs, by part.

    Args:
        model: on the meta device.
        optimizer: how weights move.
        precision: Lightning's, resolved.
        strategy: fsdp divides weights, gradients and the optimiser's state over the devices; ddp divides nothing.
        world: devices in all.
        rows: of a micro-batch.
        row_length: T, tokens of a row.
        packed: whether rows hold several windows, which needs a mask.
        base: what the framework takes by itself.
    """
    held, products = TYPES[precision]
    weights = model.num_parameters() * held.itemsize
    sharded = world if strategy is Strategy.fsdp else 1
    logits = logits_bytes(int(model.config.get_text_config().vocab_size), on_gpu=base == GPU_BASE)
    parts = {
        "weights": weights / sharded,
        "gradients": weights / sharded,
        "optimiser state": state_numbers(model, optimizer) * held.itemsize / sharded,
        "activations": activations(
            model.config, rows=rows, row_length=row_length, packed=packed, held=held, products=products
        ),
        "logits": logits,
        "framework": base,
    }
    if strategy is Strategy.fsdp and world > 1:
        parts["gathered layers"] = (
            GATHERED * _largest_layer(model) * held.itemsize + _outside(model) * held.itemsize
        )
    elif world > 1:
        parts["gradients on their way"] = float(weights)
    return parts


def reading_memory(
    model: PreTrainedModel, *, precision: str, batch_tokens: int, window: int, base: float
) -> dict[str, float]:
    """Bytes that scoring needs, by part: no gradients, and one layer's activations at a time.

    Args:
        model: on the meta device.
        precision: Lightning's, resolved.
        batch_tokens: tokens in a batch.
        window: body tokens in a window.
        base: what the framework takes by itself.
    """
    held, products = TYPES[precision]
    rows = max(1, batch_tokens // window)
    one = _saved(model.config, 1, rows, window + 1, packed=False, held=held, products=products)
    return {
        "weights": float(model.num_parameters() * held.itemsize),
        "activations": float(one),
        "logits": logits_bytes(int(model.config.get_text_config().vocab_size), on_gpu=base == GPU_BASE),
        "framework": base,
    }


def logits_bytes(vocabulary: int, *, on_gpu: bool) -> float:
    """Of the logits that are held at once; see `revlm.models.nll`."""
    tokens = max(1, min(CHUNK_TOKENS, CHUNK_LOGITS // vocabulary)) * (GPU_CHUNKS if on_gpu else 1)
    return float(LOGITS * LOGITS_BYTES * tokens * vocabulary)


def state_numbers(model: PreTrainedModel, optimizer: OptimizerConfig) -> int:
    """Numbers that the optimiser keeps: two a parameter under AdamW, one a matrix under Muon."""
    groups = group_names(model, optimizer)
    return sum(KEPT[groups[name]] * p.numel() for name, p in model.named_parameters() if name in groups)


def activations(
    config: PretrainedConfig,
    *,
    rows: int,
    row_length: int,
    packed: bool,
    held: torch.dtype = torch.float32,
    products: torch.dtype | None = None,
) -> float:
    """Bytes that a forward pass of the body keeps for the backward pass: exact for models whose layers are alike.

    One layer and two are traced; each other layer keeps what the second one adds.

    Args:
        config: of the model.
        rows: B.
        row_length: T.
        packed: several windows in a row.
        held: type of the weights.
        products: type of the products where that is another.
    """
    layers = int(config.get_text_config().num_hidden_layers)
    options: dict[str, Any] = {"packed": packed, "held": held, "products": products}
    one = _saved(config, 1, rows, row_length, **options)
    if layers == 1:
        return float(one)
    return float(one + (layers - 1) * (_saved(config, 2, rows, row_length, **options) - one))


def _saved(
    config: PretrainedConfig,
    layers: int,
    rows: int,
    row_length: int,
    *,
    packed: bool,
    held: torch.dtype,
    products: torch.dtype | None,
) -> int:
    """Bytes of every tensor that autograd keeps of a body of so many layers, weights left out."""
    with FakeTensorMode():
        model = of_depth(config, layers, held).train()
        own = {p.untyped_storage()._cdata for p in model.parameters()}  # noqa: SLF001 -- a storage's only name
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            name = tensor.untyped_storage()._cdata  # noqa: SLF001
            # Without packing there is no mask, which fake tensors do not find out.
            is_mask = tensor.shape[-2:] == (row_length, row_length)
            if name not in own and (packed or not is_mask):
                kept[name] = tensor
            return tensor

        ids = torch.zeros((rows, row_length), dtype=torch.int64)
        positions = torch.arange(row_length).expand(rows, row_length)
        inputs = {"input_ids": ids, "use_cache": False} | ({"position_ids": positions} if packed else {})
        lower = torch.autocast("cpu", products) if products else contextlib.nullcontext()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), lower:
            model.base_model(**inputs)
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _largest_layer(model: PreTrainedModel) -> int:
    """Parameters of the largest unit that FSDP gathers."""
    return max(_layers(model), default=0)


def _outside(model: PreTrainedModel) -> int:
    """Parameters in no layer, such as embeddings, which stay gathered during a pass."""
    return int(model.num_parameters()) - sum(_layers(model))


def _layers(model: PreTrainedModel) -> list[int]:
    names = set(getattr(model, "_no_split_modules", None) or [])
    layers = (module for module in model.modules() if type(module).__name__ in names)
    return [sum(p.numel() for p in layer.parameters()) for layer in layers]


def run_disk(model: PreTrainedModel, optimizer: OptimizerConfig, precision: str) -> dict[str, float]:
    """Bytes that a training run leaves in its folder, by part."""
    size = TYPES[precision][0].itemsize
    weights = float(model.num_parameters() * size)
    return {
        "checkpoint": weights + state_numbers(model, optimizer) * size,
        "model": weights,
        "records and figures": RECORDS,
    }
