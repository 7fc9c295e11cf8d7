"""Options of `python -m revlm.generate` and `python -m revlm.export`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from revlm.config.marks import PATH, SHORT, VERBATIM
from revlm.config.scoring import ModelSource
from revlm.config.shared import CacheConfig


class Reading(Enum):
    """A reading order, as options name it."""

    forward = "forward"
    reverse = "reverse"


@dataclass
class ReadingConfig:
    """In which direction a model reads: `direction=X` is short for `direction.name=X`."""

    name: Reading = field(default=Reading.forward, metadata=SHORT)


@dataclass
class GenerateConfig:
    """Options of `python -m revlm.generate`."""

    model: ModelSource = field(default_factory=ModelSource)
    direction: ReadingConfig = field(default_factory=ReadingConfig)
    # The prompt, taken as it stands; empty to write from nothing.
    text: str | None = field(default=None, metadata=VERBATIM)
    # In its place: a text file with one prompt a line.
    file: str | None = field(default=None, metadata=PATH)
    num_tokens: int = 64
    # 0 is greedy.
    temperature: float = 0.8
    # Share of probability to sample from.
    top_p: float = 0.95
    # Texts for each prompt, with the seeds seed, seed + 1, ...
    samples: int = 1
    seed: int = 0
    # Let the model's end-of-text token end a text before num_tokens, if it knows one.
    stop_at_end: bool = False
    # Write in a direction that the model was not trained in.
    allow: bool = False
    # Show the prompt in [brackets].
    mark: bool = False
    # A JSONL file in place of the terminal: prompt, direction, text, written, seed.
    out: str | None = field(default=None, metadata=PATH)
    # Texts written at a time; it changes the speed and no text.
    batch_size: int = 16
    cache: CacheConfig = field(default_factory=CacheConfig)


@dataclass
class ExportConfig:
    """Options of `python -m revlm.export`."""

    # The folder of a finished training run.
    run: str = field(default=MISSING, metadata=PATH)
    out: str = field(default=MISSING, metadata=PATH)
    # Replace what an earlier export left in `out`.
    overwrite: bool = False
