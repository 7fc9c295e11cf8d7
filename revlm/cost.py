"""What a training run will cost: `python -m revlm.cost +experiment=from_scratch_mixed`."""

from __future__ import annotations

from revlm import cli
from revlm.checks import check
from revlm.config import CostConfig
from revlm.costs.opening import tell_training


def cost(config: CostConfig) -> None:
    """Print time, memory and disk of a run before it runs; write nothing."""
    check(config)
    tell_training(config, config.cost)


if __name__ == "__main__":
    cli.run(cost)
