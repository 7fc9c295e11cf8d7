"""Options of `python -m revlm.cost`."""

from __future__ import annotations

from dataclasses import dataclass, field

from revlm.config.marks import PATH
from revlm.config.training import TrainConfig


@dataclass
class CostOptions:
    """For which machine, and how exactly."""

    # here: this machine, by a probe; a100, h100, h200, l4, rtx4090, mi300x: from its stated peak.
    # auto: here, or h100 where the run asks for GPUs that are not here.
    device: str = "auto"
    # Share of the stated peak; null: 0.4 in training, 0.5 where there is no backward pass.
    efficiency: float | None = None
    # Tokens to score, each counted once and read both ways.
    score_tokens: int = 1_000_000
    # Most that the probe takes.
    seconds: float = 30.0
    # A JSON file with every number; nothing is written without it.
    out: str | None = field(default=None, metadata=PATH)


@dataclass
class CostConfig(TrainConfig):
    """Options of `python -m revlm.cost`: those of training, and `cost.`."""

    cost: CostOptions = field(default_factory=CostOptions)
