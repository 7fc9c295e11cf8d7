"""Checkpoints that are whole or absent, hold plain data only, and bring random state back."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any, BinaryIO, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from revlm.errors import UserError

LAST = "last"


class _WatchedFile:
    """A file that remembers why a write failed."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a killed run or a full disk leaves the old checkpoint."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save in one step.

        Raises:
            OSError: the disk is full or the folder cannot be written; the old file is untouched.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                watched = _WatchedFile(file)
                try:
                    torch.save(checkpoint, cast(BinaryIO, watched))
                except RuntimeError as error:
                    # torch's writer hides why a write failed behind a check of its own.
                    raise watched.error or error from error
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """`checkpoints/last.ckpt`, replaced at every validation and every `every_n_steps` between.

    A checkpoint is taken between steps only, and where a validation is due, behind it: continuing
    neither loses a micro-batch's gradient nor a validation. Lightning hands a step's numbers to loggers
    behind the last hook that could take a checkpoint; so a checkpoint between validations waits under
    another name until the next hook, by when the record holds its step.
    """

    def __init__(self, folder: Path, *, accumulate: int, every_n_steps: int | None) -> None:
        """Keep one file.

        Args:
            folder: for the file.
            accumulate: micro-batches in a step; a run continues with the same number only.
            every_n_steps: steps between checkpoints, beside the validations.
        """
        self.path, self.waiting = folder / f"{LAST}.ckpt", folder / "waiting.ckpt"
        self.accumulate, self.every_n_steps = accumulate, every_n_steps
        self._waits = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save between validations."""
        every = self.every_n_steps
        if every and trainer.global_step % every == 0 and self.is_between_steps(trainer, batch_idx):
            self.take(trainer)

    def is_between_steps(self, trainer: L.Trainer, batch_idx: int) -> bool:
        """Whether a step ends with this micro-batch and no validation is due behind it."""
        done = batch_idx + 1
        return bool(done % self.accumulate == 0 and done % cast(int, trainer.val_check_batch))

    def take(self, trainer: L.Trainer) -> None:
        """Save between two steps, once, from `on_train_batch_end`; it counts at the next `on_train_batch_start`."""
        if not self._waits:
            trainer.save_checkpoint(self.waiting)
            self._waits = True

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Let the last batch's checkpoint count: its row is written."""
        if self._waits and trainer.is_global_zero:
            self.waiting.replace(self.path)
        self._waits = False

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Drop a checkpoint that a killed run has left waiting."""
        if trainer.is_global_zero:
            self.waiting.unlink(missing_ok=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save behind every validation but the one before the first step."""
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """What batches are counted in."""
        return {"accumulate": self.accumulate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to count on in other units.

        Raises:
            UserError: a step is made of another number of micro-batches now.
        """
        if state_dict["accumulate"] != self.accumulate:
            raise UserError(
                f"{self.path} was written with {state_dict['accumulate']} micro-batches in a step, not "
                f"{self.accumulate}: set budget.micro_batch_size so that there are as many again."
            )

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a finished run go on under a larger budget: its last batch is the last no more."""
        checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False


class RandomState(L.Callback):
    """Random number generators of every rank, put back just before the first batch of a resumed run.

    Building loaders and models draws numbers, so restoring any earlier would shift them.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """States of all ranks, as plain lists and tensors."""
        mine = _collect()
        if not torch.distributed.is_initialized():
            return {"ranks": [mine]}
        ranks: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(ranks, mine)
        return {"ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them for the first batch."""
        self._pending = state_dict

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Put this rank's state back, once."""
        if self._pending is not None:
            ranks = self._pending["ranks"]
            _restore(ranks[min(trainer.global_rank, len(ranks) - 1)])
            self._pending = None


def _collect() -> dict[str, Any]:
    algorithm, keys, *rest = np.random.get_state()  # noqa: NPY002 -- libraries draw from it
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": list(random.getstate()[1]),
        "numpy": [algorithm, np.asarray(keys).tolist(), *rest],
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    random.setstate((3, tuple(state["python"]), None))
    algorithm, keys, *rest = state["numpy"]
    np.random.set_state((algorithm, np.asarray(keys, dtype=np.uint32), *rest))  # noqa: NPY002


def step_of(path: Path) -> int:
    """Optimiser steps behind a checkpoint.

    Raises:
        UserError: the file is no checkpoint that can be read safely.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(checkpoint["global_step"])
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError, ValueError) as error:
        raise UserError(
            f"{path} is not a checkpoint that can be read ({str(error).splitlines()[0]})."
        ) from error
