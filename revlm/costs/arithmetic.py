"""A model's size and its arithmetic, from its configuration alone: no weights, no text."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer, models
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from revlm.config import Init, TrainConfig
from revlm.data.tokens import load_tokenizer, num_ids
from revlm.errors import UserError
from revlm.models import backbone
from revlm.training.throughput import flops_per_token

MATRIX = 2  # dimensions
# A training token's products are done forward and, twice, backward.
PASSES = 3
# A part, and what its modules are called by one architecture or another.
PARTS = {
    "attention": ("attn", "attention"),
    "feed-forward": ("mlp", "ffn", "feed_forward", "ff.", "expert", "moe"),
}


@dataclass(frozen=True)
class Size:
    """A model in numbers.

    Attributes:
        parameters: by part.
        layers: that are alike.
        vocabulary: ids.
        row_length: T, tokens of a row.
        training_flops: of one token, forward and backward, in rows of T.
    """

    parameters: Mapping[str, int]
    layers: int
    vocabulary: int
    row_length: int
    training_flops: float

    @property
    def total(self) -> int:
        """Parameters in all."""
        return sum(self.parameters.values())

    @property
    def reading_flops(self) -> float:
        """Of one token read in one direction, without a backward pass."""
        return self.training_flops / PASSES


def numbers_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the numbers below `size` and no text: what a model needs to be built."""
    first, second = "0", "1"
    core = Tokenizer(models.WordLevel({str(number): number for number in range(size)}, unk_token=first))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=first, pad_token=second)


def vocabulary(config: TrainConfig) -> int:
    """Ids of the tokenizer that a run from scratch will have, without its text.

    Raises:
        UserError: `tokenizer.path` cannot be read.
    """
    if config.tokenizer.path:
        return num_ids(load_tokenizer(config.tokenizer.path)) + 2 * config.direction.tag
    # A BPE of one's own knows the tags already.
    return config.tokenizer.vocab_size


def row_length(config: TrainConfig) -> int:
    """T: a window and what stands before it."""
    return config.data.window + (2 if config.direction.tag else 1)


def empty_model(config: TrainConfig) -> PreTrainedModel:
    """The run's model on the meta device: shapes, no numbers.

    Raises:
        UserError: the options make no model, or the configuration of `init=pretrained` is not within reach.
    """
    with torch.device("meta"):
        if config.init.kind is Init.scratch:
            return backbone.from_config(
                config.model, numbers_tokenizer(vocabulary(config)), row_length(config)
            )
        return of_depth(pretrained_config(config), None)


def pretrained_config(config: TrainConfig) -> PretrainedConfig:
    """What published weights say of themselves, without the weights.

    Raises:
        UserError: it cannot be read.
    """
    source = config.init.path or config.model.pretrained
    if not source:
        # Says so in its own words.
        backbone.pretrained_folder(config.model, config.init, Path(config.cache.dir))
    options: dict[str, Any] = {}
    gguf = backbone.gguf_path(str(source), config.model.gguf_file)
    if gguf is not None:
        source, options["gguf_file"] = str(gguf.parent), gguf.name
    try:
        found = AutoConfig.from_pretrained(source, **options)
    except Exception as error:
        raise UserError(backbone.unreadable(str(source), error)) from error
    found.use_cache = False
    return cast(PretrainedConfig, found)


def of_depth(
    config: PretrainedConfig, layers: int | None, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A model of the same width with so many layers, on the device and with the numbers that are the default.

    Args:
        config: of the whole model.
        layers: None for all.
        dtype: of its weights.
    """
    shallow = copy.deepcopy(config)
    # The weights of a GGUF file say how they are packed; these are none.
    if hasattr(shallow, "quantization_config"):
        del shallow.quantization_config
    text = shallow.get_text_config()
    if layers is not None:
        for name, value in list(vars(text).items()):
            # Such as layer_types, which says something of each layer.
            if isinstance(value, list) and len(value) == text.num_hidden_layers:
                setattr(text, name, value[:layers])
        text.num_hidden_layers = layers
    return cast(
        PreTrainedModel, AutoModelForCausalLM.from_config(shallow, attn_implementation="sdpa", dtype=dtype)
    )


def size_of(model: PreTrainedModel, length: int) -> Size:
    """Parameters by part and arithmetic of a model, which may lie on the meta device.

    Args:
        model: whole, not sharded.
        length: T, tokens of a row.
    """
    parts: dict[str, int] = dict.fromkeys(("embeddings", *PARTS, "norms and biases", "output", "other"), 0)
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = model.get_output_embeddings()
    output = {id(p) for p in head.parameters()} if isinstance(head, nn.Module) else set()
    for name, p in model.named_parameters():
        parts[_part(name, p, looked_up, output)] += p.numel()
    text = model.config.get_text_config()
    return Size(
        parameters={part: count for part, count in parts.items() if count},
        layers=int(text.num_hidden_layers),
        vocabulary=int(text.vocab_size),
        row_length=length,
        training_flops=flops_per_token(model, length),
    )


def _part(name: str, p: nn.Parameter, looked_up: set[int], output: set[int]) -> str:
    if id(p) in looked_up:
        return "embeddings"
    if id(p) in output:
        return "output"
    if p.ndim < MATRIX:
        return "norms and biases"
    return next(
        (part for part, words in PARTS.items() if any(word in name.lower() for word in words)), "other"
    )
