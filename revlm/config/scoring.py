"""Options of `python -m revlm.score` and `python -m revlm.contexts`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from revlm.config.corpus import CorpusConfig
from revlm.config.marks import PATH, SHORT
from revlm.config.shared import CacheConfig, CurvesConfig, RunConfig, run_folder
from revlm.config.training import LoggerConfig


@dataclass
class ModelSource:
    """Which model: `model=X` is short for `model.path=X`."""

    # A run's model/ folder, any exported folder, a hub id, or a name such as smollm2. score takes a
    # list of them as well.
    path: Any = field(default=None, metadata=PATH | SHORT)
    # A pair of one-direction models instead.
    forward: str | None = field(default=None, metadata=PATH)
    reverse: str | None = field(default=None, metadata=PATH)
    # In place of the model's own tokenizer: a hub id, a folder or a GGUF file.
    tokenizer: str | None = field(default=None, metadata=PATH)
    # The token that stands before every row, such as [CLS], where the tokenizer names none.
    begin: str | None = None
    device: str = "auto"
    # auto: bfloat16 on a GPU that has it, float32 elsewhere.
    precision: str = "auto"


class Executor(Enum):
    """Who runs the workers."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


@dataclass
class SlurmConfig:
    """What each worker asks of Slurm."""

    partition: str = "default"
    time: str = "24:00:00"
    cpus_per_task: int = 4
    mem_per_cpu_gb: int = 4
    gpus_per_task: int = 0
    # Shell line that makes revlm importable on a node, such as `source /path/.venv/bin/activate`.
    env_command: str | None = None
    # Write the job scripts without sending them.
    dry_run: bool = False


@dataclass
class ScoreConfig:
    """Options of `python -m revlm.score`."""

    model: ModelSource = field(default_factory=ModelSource)
    data: CorpusConfig = field(default_factory=CorpusConfig)
    # Body tokens in a window; null: what the model was trained with, else its whole context.
    window: int | None = None
    # Shorter documents are left out and counted: S of a few tokens is mostly noise.
    min_tokens: int = 32
    # Tokens in a batch; null: 1024 on a CPU, whose cache larger ones outgrow, and 65,536 on a GPU.
    batch_tokens: int | None = None
    # Tokens in a shard, the most that a kill can lose of one worker's work.
    shard_tokens: int = 200_000
    # Keep each token's two losses as well, in tokens.parquet.
    tokens: bool = False
    executor: Executor = Executor.local
    workers: int = 1
    # Print what scoring will cost in time, memory and disk, and stop.
    estimate: bool = False
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    # Fewer resamples than in training: there are curves for each domain and language.
    curves: CurvesConfig = field(default_factory=lambda: CurvesConfig(resamples=200))
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    run: RunConfig = field(
        default_factory=lambda: run_folder("score", "model data window min_tokens tokens shard_tokens curves")
    )
    cache: CacheConfig = field(default_factory=CacheConfig)


@dataclass
class ContextsConfig:
    """Options of `python -m revlm.contexts`."""

    model: ModelSource = field(default_factory=ModelSource)
    data: CorpusConfig = field(default_factory=CorpusConfig)
    # Body tokens in the windows that slide over a document; odd. The longest context is a token
    # shorter. Documents shorter than a window are left out and counted.
    window: int = 65
    # Tokens from one window to the next; even. Context lengths stand half as many tokens apart, and
    # each token is read window / stride times; null: about sixteen lengths.
    stride: int | None = None
    # Tokens in a batch; null: what suits the device, as for score.
    batch_tokens: int | None = None
    run: RunConfig = field(default_factory=lambda: run_folder("contexts", "model data window stride"))
    cache: CacheConfig = field(default_factory=CacheConfig)
