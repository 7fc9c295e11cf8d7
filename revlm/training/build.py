"""From options to the objects of a run: by names in code, so no config file can run code."""

from __future__ import annotations

from pathlib import Path

import torch

from revlm.config import Init, Packing, TrainConfig
from revlm.data.datamodule import TokenStreamDataModule
from revlm.errors import UserError
from revlm.models import backbone
from revlm.models.nll import check_windows_apart, is_causal
from revlm.training.modules import MODULES, DirectionalLM


def build_datamodule(config: TrainConfig) -> TokenStreamDataModule:
    """The run's corpus and streams, not opened yet.

    Raises:
        UserError: module and data disagree on the directions, or `init=pretrained` names nothing that is there.
    """
    cache = Path(config.cache.dir)
    pretrained = None
    if config.init.kind is Init.pretrained:
        pretrained = backbone.pretrained_folder(config.model, config.init, cache)
    data = TokenStreamDataModule(
        config.data,
        tokenizer=config.tokenizer,
        direction=config.direction,
        budget=config.budget,
        seed=config.seed,
        cache_dir=cache,
        pretrained=pretrained,
    )
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
