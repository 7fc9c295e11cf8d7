"""Fully sharded data parallel: every rank holds a part of each layer."""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import FSDPStrategy
from transformers import PreTrainedModel

from revlm.config import TrainerConfig
from revlm.errors import UserError


def build_fsdp(options: TrainerConfig, model: PreTrainedModel) -> FSDPStrategy:
    """FSDP with one unit a layer, saving whole weights.

    Args:
        options: of the trainer.
        model: says which of its modules are layers.

    Raises:
        UserError: there is no GPU.
    """
    if options.accelerator == "cpu" or not torch.cuda.is_available():
        raise UserError(
            "trainer.strategy=fsdp needs GPUs: choose trainer.strategy=ddp, "
            "or trainer.strategy=auto on one device."
        )
    names = set(getattr(model, "_no_split_modules", None) or [])
    layers = {type(module) for module in model.modules() if type(module).__name__ in names}
    return FSDPStrategy(auto_wrap_policy=layers, state_dict_type="full")
