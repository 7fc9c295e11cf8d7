"""How ranks share the work: a strategy of which Lightning's name says too little has a file, and a line here."""

from __future__ import annotations

from lightning.pytorch.strategies import Strategy as LightningStrategy
from transformers import PreTrainedModel

from revlm.config import Strategy, TrainerConfig
from revlm.training.strategies.fsdp import build_fsdp

BUILDERS = {Strategy.fsdp: build_fsdp}
# Ranks hold shards of the weights: all of them take part in gathering, and Lightning writes the checkpoint itself.
SHARDED = {Strategy.fsdp}


def build_strategy(options: TrainerConfig, model: PreTrainedModel) -> LightningStrategy | str:
    """What Lightning's trainer takes as its strategy.

    Raises:
        UserError: the strategy needs devices that are not there.
    """
    builder = BUILDERS.get(options.strategy)
    return builder(options, model) if builder else options.strategy.value
