"""Lightning's trainer from the options."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from transformers import PreTrainedModel

from revlm.config import TrainConfig, TrainerConfig
from revlm.data.datamodule import TokenStreamDataModule
from revlm.errors import UserError
from revlm.training.callbacks import PlainProgress, Progress
from revlm.training.checkpoints import AtomicCheckpointIO, LastCheckpoint, RandomState
from revlm.training.stopping import Stop
from revlm.training.strategies import SHARDED, build_strategy
from revlm.training.throughput import Clock


def build_trainer(
    config: TrainConfig,
    folder: Path,
    data: TokenStreamDataModule,
    model: PreTrainedModel,
    *,
    fresh: bool,
    logger: Logger,
    callbacks: list[Callback],
) -> tuple[L.Trainer, Stop]:
    """A trainer for one pass over a run's stream, validating evenly and at its end, and what stops it.

    Args:
        config: the run.
        folder: its folder.
        data: its corpus, opened.
        model: tells FSDP what a layer is.
        fresh: not continued; begins with a whole validation, which is where the losses start from.
        logger: where the numbers go.
        callbacks: beside the usual ones.

    Raises:
        UserError: the devices, the strategy or the precision are not available on this machine, or a step does not
            divide over them.
    """
    _quiet()
    options = config.trainer
    accumulate = data.share(0, options.devices * options.num_nodes).accumulate
    clock, strategy = Clock(), build_strategy(options, model)
    every = options.checkpoint_every_n_steps
    checkpoint = LastCheckpoint(folder / "checkpoints", accumulate=accumulate, every_n_steps=every)
    stop = Stop(checkpoint)
    try:
        trainer = L.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy=strategy,
            precision=options.precision,  # type: ignore[arg-type]
            max_epochs=1,
            val_check_interval=data.num_steps * accumulate // config.budget.validations,
            num_sanity_val_steps=-1 if fresh else 0,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=config.optimizer.clip_norm or None,
            use_distributed_sampler=False,
            logger=logger,
            log_every_n_steps=options.log_every_n_steps,
            enable_progress_bar=options.progress_bar and sys.stderr.isatty(),
            enable_model_summary=False,
            default_root_dir=folder,
            plugins=[] if options.strategy in SHARDED else [AtomicCheckpointIO()],
            callbacks=[clock, *callbacks, *_progress(options, clock), RandomState(), checkpoint, stop],
        )
    except (MisconfigurationException, ValueError) as error:
        raise _unavailable(options, error) from error
    return trainer, stop


def _unavailable(options: TrainerConfig, error: Exception) -> UserError:
    return UserError(
        f"trainer.accelerator={options.accelerator} trainer.devices={options.devices} "
        f"trainer.precision={options.precision} cannot be had here ({str(error).splitlines()[0]}): "
        "leave them at their defaults, or choose others."
    )


def _progress(options: TrainerConfig, clock: Clock) -> list[Callback]:
    """A bar on a terminal, lines elsewhere, or nothing."""
    if not options.progress_bar:
        return []
    return [Progress() if sys.stderr.isatty() else PlainProgress(clock)]


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
