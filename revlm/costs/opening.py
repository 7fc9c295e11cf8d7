"""How commands ask for an estimate: without libraries until then, since importing them is a part of what a run takes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from revlm.cache import write_atomically
from revlm.config import CostOptions, ScoreConfig, TrainConfig


def tell_training(config: TrainConfig, options: CostOptions) -> None:
    """Print what a training run takes; see `revlm.costs.estimate.training`."""
    started = time.perf_counter()
    from revlm.costs import estimate, result, words

    found = estimate.training(config, options, imports=time.perf_counter() - started)
    print(words.told(found))
    if options.out is not None:
        write_atomically(Path(options.out), json.dumps(result.plain(found), indent=2) + "\n")


def tell_scoring(config: ScoreConfig, pairs: Mapping[str, tuple[str, str | None]], imports: float) -> None:
    """Print what scoring takes; see `revlm.costs.estimate.scoring`.

    Args:
        config: of the command.
        pairs: name -> (model, None), or (forward, reverse).
        imports: seconds that were spent before.
    """
    started = time.perf_counter()
    from revlm.costs import estimate, words

    print(words.told(estimate.scoring(config, pairs, imports=imports + time.perf_counter() - started)))
