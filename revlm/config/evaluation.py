"""Options of `python -m revlm.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from revlm.config.marks import PATH, SHORT
from revlm.config.scoring import ModelSource
from revlm.config.shared import CacheConfig, RunConfig, run_folder
from revlm.config.training import LoggerConfig


class QuestionReading(Enum):
    """How question and answer are read."""

    forward = "forward"  # log p(answer | question)
    reverse = "reverse"  # log p(question | answer)
    combined = "combined"  # the sum, with a weight


@dataclass
class QuestionReadingConfig:
    """How questions are read: `direction=X` is short for `direction.name=X`."""

    # forward, reverse, combined, or a list of them.
    name: Any = field(default=QuestionReading.forward.value, metadata=SHORT)
    # combined: forward + weight * reverse.
    weight: float = 1.0


@dataclass
class EvaluateConfig:
    """Options of `python -m revlm.evaluate`."""

    model: ModelSource = field(default_factory=ModelSource)
    # Names of offline tasks, .jsonl files of questions, or lm-eval's own tasks.
    tasks: list[str] = field(default=MISSING, metadata=PATH)
    direction: QuestionReadingConfig = field(default_factory=QuestionReadingConfig)
    # The first so many questions of each task; null: all.
    limit: int | None = None
    # Answered examples before each question; null: none offline, and what a stock task says itself.
    num_fewshot: int | None = None
    # Rows in a forward pass. Small ones suit a CPU's cache.
    batch_size: int = 4
    # Draws the few-shot examples; lm-eval's own default.
    seed: int = 1234
    # Measure a direction that the model was not trained on: that is how its bias is seen.
    allow: bool = False
    # lm-eval's resamples behind standard errors that have no formula; 0: no standard errors at all.
    bootstrap: int = 100_000
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    run: RunConfig = field(
        default_factory=lambda: run_folder("evaluate", "model direction tasks limit num_fewshot seed")
    )
    cache: CacheConfig = field(default_factory=CacheConfig)
