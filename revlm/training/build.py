"""From options to the objects of a run: by names in code, so no config file can run code."""

from __future__ import annotations

from pathlib import Path

import torch

from revlm.config import Init, Packing, TrainConfig
from revlm.data.datamodule import TokenStreamDataModule
from revlm.errors import UserError
from revlm.memory import check_fits
from revlm.models import backbone
from revlm.models.nll import check_windows_apart, is_causal
from revlm.training.modules import MODULES, DirectionalLM

# A pair of tokens in the mask that keeps packed windows apart, and what torch makes of it on a CPU: measured 9.4 to 9.7
# with transformers 5.23 and torch 2.13, forward and backward.
MASK_BYTES = 10


def datamodule_of(config: TrainConfig, pretrained: str | None = None) -> TokenStreamDataModule:
    """A run's corpus and streams from its options, whatever its module; `pretrained` brings a tokenizer."""
    return TokenStreamDataModule(
        config.data,
        tokenizer=config.tokenizer,
        direction=config.direction,
        budget=config.budget,
        seed=config.seed,
        cache_dir=Path(config.cache.dir),
        pretrained=pretrained,
    )


def build_datamodule(config: TrainConfig) -> TokenStreamDataModule:
    """The run's corpus and streams, not opened yet.

    Raises:
        UserError: module and data disagree on the directions, or `init=pretrained` names nothing that is there.
    """
    pretrained = None
    if config.init.kind is Init.pretrained:
        pretrained = backbone.pretrained_folder(config.model, config.init, Path(config.cache.dir))
    data = datamodule_of(config, pretrained)
    MODULES[config.direction.module].check_directions(data.directions)
    return data


def build_module(config: TrainConfig, data: TokenStreamDataModule) -> DirectionalLM:
    """The run's model for an opened datamodule; random weights depend on the seed alone.

    Raises:
        UserError: the model does not fit the rows or the vocabulary, or lets packed windows leak.
    """
    layout = data.layout
    torch.manual_seed(config.seed)
    if data.pretrained:
        model = backbone.from_pretrained(data.pretrained, layout.row_length)
        backbone.fit_vocabulary(model, data.tokenizer, len(layout.tags))
    else:
        model = backbone.from_config(config.model, data.tokenizer, layout.row_length)
    if not is_causal(model):
        raise UserError(
            f"model={config.model.name} (model.type={config.model.type}) sees what it is to predict: "
            "choose a causal transformers model type."
        )
    if config.data.packing is Packing.packed and not check_windows_apart(model):
        raise UserError(
            f"model={config.model.name} lets the windows of a packed row see each other: set data.packing=padded."
        )
    return MODULES[config.direction.module](
        model, optimizer=config.optimizer, curves=config.curves, window=layout.window, prefix=layout.prefix
    )


def check_memory(config: TrainConfig, data: TokenStreamDataModule) -> None:
    """Refuse rows or curves that cannot fit, before a model is made.

    Args:
        config: of the run.
        data: opened.

    Raises:
        UserError: the mask of packed rows, or the resamples of the curves, need more memory than is free.
    """
    length, window, resamples = data.layout.row_length, data.layout.window, config.curves.resamples
    if data.layout.packed and config.trainer.accelerator in ("cpu", "auto") and not torch.cuda.is_available():
        rows = data.share(0, config.trainer.devices * config.trainer.num_nodes).micro_batch_size
        check_fits(
            MASK_BYTES * rows * length**2,
            f"the mask of {rows} packed rows of {length} tokens",
            "set data.packing=padded, or a smaller data.window or budget.micro_batch_size",
        )
    # Sums and counts of two directions, for all windows and for first ones, and a copy while they are added.
    check_fits(
        128 * resamples * window,
        f"curves of {window} positions with curves.resamples={resamples}",
        "lower curves.resamples (0 for no intervals) or data.window",
    )
