"""Lightning's trainer from the options."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import FSDPStrategy
from transformers import PreTrainedModel

from revlm.config import Strategy, TrainConfig
from revlm.errors import UserError
from revlm.training.callbacks import Clock, PlainProgress, Progress
from revlm.training.checkpoints import AtomicCheckpointIO, LastCheckpoint, RandomState


def build_trainer(
    config: TrainConfig,
    folder: Path,
    *,
    model: PreTrainedModel,
    num_batches: int,
    accumulate: int,
    fresh: bool,
    clock: Clock,
    callbacks: list[Callback],
) -> L.Trainer:
    """A trainer for one pass over a run's stream, validating evenly and at its end.

    Args:
        config: the run.
        folder: its folder.
        model: tells FSDP what a layer is.
        num_batches: micro-batches of one rank in the run.
        accumulate: micro-batches in a step.
        fresh: not continued; begins with a whole validation, which is where the losses start from.
        clock: of the run.
        callbacks: beside the usual ones.

    Raises:
        UserError: the devices, the strategy or the precision are not to be had here.
    """
    _quiet()
    options = config.trainer
    bar = options.progress_bar and sys.stderr.isatty()
    watchers: list[Callback] = [Progress()] if bar else []
    if options.progress_bar and not bar:
        watchers = [PlainProgress(clock)]
    checkpoint = LastCheckpoint(
        folder / "checkpoints", accumulate=accumulate, every_n_steps=options.checkpoint_every_n_steps
    )
    try:
        return L.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy=_strategy(config, model),
            precision=choose_precision(options.precision, options.accelerator),  # type: ignore[arg-type]
            max_epochs=1,
            val_check_interval=num_batches // config.budget.validations,
            num_sanity_val_steps=-1 if fresh else 0,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=config.optimizer.clip_norm or None,
            use_distributed_sampler=False,
            logger=False,
            enable_progress_bar=bar,
            enable_model_summary=False,
            default_root_dir=folder,
            plugins=[] if options.strategy is Strategy.fsdp else [AtomicCheckpointIO()],
            callbacks=[clock, *callbacks, *watchers, RandomState(), checkpoint],
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"trainer.accelerator={options.accelerator} trainer.devices={options.devices} "
            f"trainer.precision={options.precision} cannot be had here ({reason}): "
            "leave them at their defaults, or choose others."
        ) from error


def choose_precision(precision: str, accelerator: str) -> str:
    """`auto` is bfloat16 where a GPU computes in it, and float32 elsewhere."""
    if precision != "auto":
        return precision
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def _strategy(config: TrainConfig, model: PreTrainedModel) -> Any:
    options = config.trainer
    if options.strategy is Strategy.ddp:
        return "ddp"
    if options.strategy is Strategy.fsdp:
        if options.accelerator == "cpu" or not torch.cuda.is_available():
            raise UserError(
                "trainer.strategy=fsdp needs GPUs: choose trainer.strategy=ddp, "
                "or trainer.strategy=auto on one device."
            )
        names = set(getattr(model, "_no_split_modules", None) or [])
        layers = {type(module) for module in model.modules() if type(module).__name__ in names}
        return FSDPStrategy(auto_wrap_policy=layers, state_dict_type="full")
    return "auto"


def _quiet() -> None:
    """Lightning's greetings say nothing about the run."""
    for name in ("lightning.pytorch", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    messages = (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*TreeSpec.*",
        ".*tensorboardX.*",
        ".*set_vital.*",
        ".*exists and is not empty.*",
    )
    for message in messages:
        warnings.filterwarnings("ignore", message)
