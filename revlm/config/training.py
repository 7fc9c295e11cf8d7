"""Options of `python -m revlm.train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from revlm.config.corpus import DataConfig
from revlm.config.marks import PATH
from revlm.config.shared import CacheConfig, CurvesConfig, RunConfig


class Module(Enum):
    """Which directions a module trains on."""

    forward = "forward"
    reverse = "reverse"
    mixed = "mixed"


@dataclass
class DirectionConfig:
    """The module and its data mix, set together by `direction=`."""

    module: Module = Module.mixed
    # Share of training tokens that are read in reverse: 0 for forward, 1 for reverse.
    reverse_ratio: float = 0.5
    # Put a tag token for the direction behind BOS. The paper has none.
    tag: bool = False


@dataclass
class TokenizerConfig:
    """A tokenizer of its own, or one that exists."""

    # A hub id, a folder or a GGUF file; null trains a byte-level BPE on the training split,
    # or takes the pretrained model's own.
    path: str | None = field(default=None, metadata=PATH)
    # The token that stands before every row, such as [CLS], where the tokenizer names none.
    begin: str | None = None
    vocab_size: int = 4096
    # Bytes of training text that the BPE sees.
    max_bytes: int = 100_000_000


class Init(Enum):
    """Where weights come from."""

    scratch = "scratch"
    pretrained = "pretrained"


@dataclass
class InitConfig:
    """Random weights, or a model that exists."""

    kind: Init = Init.scratch
    # pretrained: a run's model/ folder or any exported folder, before model.pretrained.
    path: str | None = field(default=None, metadata=PATH)


@dataclass
class ModelConfig:
    """A causal language model: its architecture, and where its weights lie if it has any."""

    name: str = "custom"
    # A transformers model type and its configuration, for init=scratch.
    type: str = "llama"
    config: dict[str, Any] = field(default_factory=dict)
    # For init=pretrained: a hub id, a folder, or package:file for weights inside a Python package.
    pretrained: str | None = field(default=None, metadata=PATH)
    # GGUF file inside the folder.
    gguf_file: str | None = None


class OptimizerName(Enum):
    """AdamW for everything, or Muon for matrices and AdamW for the rest."""

    adamw = "adamw"
    muon = "muon"


class Schedule(Enum):
    """Shape of the learning rate after warm-up."""

    cosine = "cosine"
    wsd = "wsd"  # constant, then a linear decay at the end
    constant = "constant"


@dataclass
class OptimizerConfig:
    """How weights move."""

    name: OptimizerName = OptimizerName.adamw
    lr: float = 3e-3
    # Learning rate of the matrices under Muon; lr moves the rest.
    muon_lr: float = 2e-2
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    schedule: Schedule = Schedule.cosine
    # Shares of all steps.
    warmup: float = 0.05
    decay: float = 0.2
    # Learning rate at the end, as a share of lr.
    final_lr: float = 0.1
    clip_norm: float = 1.0


@dataclass
class BudgetConfig:
    """How much is trained."""

    # Input tokens, BOS and padding included: steps = tokens / (batch_size * row length).
    tokens: int = 1_500_000
    # Count them in each direction apart: a mixed run then reads twice as many, as many in either
    # direction as a run of one direction, and costs twice as much.
    per_direction: bool = False
    # Rows in an optimiser step, over all ranks and accumulation.
    batch_size: int = 8
    # Rows in one forward pass of one rank; null: batch_size / ranks.
    micro_batch_size: int | None = None
    # Evenly spaced over the run, the last one at its end; one more comes before the first step.
    validations: int = 8


class Strategy(Enum):
    """How ranks share the work."""

    auto = "auto"
    ddp = "ddp"
    fsdp = "fsdp"


@dataclass
class TrainerConfig:
    """Lightning's trainer."""

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: Strategy = Strategy.auto
    # auto: bf16-mixed on a GPU that computes in it, float32 elsewhere; the run's config.yaml has the choice. bf16-mixed is
    # faster on processors with matrix units for it as well.
    precision: str = "auto"
    # torch.compile of the model's body; null: where the run is long enough to win back what compiling takes.
    compile: bool | None = None
    log_every_n_steps: int = 10
    progress_bar: bool = True
    # A checkpoint is written at every validation and, if set, every so many steps between.
    checkpoint_every_n_steps: int | None = None


class WandbMode(Enum):
    """Where W&B writes."""

    offline = "offline"
    online = "online"
    none = "none"


@dataclass
class LoggerConfig:
    """W&B beside the local record, which is always written."""

    wandb: WandbMode = WandbMode.offline
    project: str = "revlm"
    entity: str | None = None
    # Of runs that belong together, such as all of one experiment; null: a training run's name, or the command's.
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    # Text samples generated in each direction at the end of the run; 0 turns them off.
    samples: int = 2


@dataclass
class TrainConfig:
    """Options of `python -m revlm.train`."""

    name: str = "train"
    # What tables call it together with the runs that differ from it by their seed alone.
    arm: str = "${name}_${data.language}"
    seed: int = 0
    # last: continue the run in its folder, or start it where there is no checkpoint yet.
    ckpt_path: str | None = None
    # Print what the run will cost in time, memory and disk, and stop.
    estimate: bool = False
    direction: DirectionConfig = field(default_factory=DirectionConfig)
    init: InitConfig = field(default_factory=InitConfig)
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    curves: CurvesConfig = field(default_factory=CurvesConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    # With ckpt_path=last: the newest run of this name that can be continued, if there is one.
    run: RunConfig = field(
        default_factory=lambda: RunConfig(
            id="${run_id:${run.root},${name},${ckpt_path}}", dir="${run.root}/${name}/${run.id}"
        )
    )
    cache: CacheConfig = field(default_factory=CacheConfig)
