"""A run that is asked to end takes a checkpoint first, and says what it continues from."""

from __future__ import annotations

import time
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from types import FrameType
from typing import Any, NoReturn, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from revlm import stopping
from revlm.errors import first_line
from revlm.training.checkpoints import LastCheckpoint

# How long after the signal a validation may still go on: behind it a checkpoint is due.
SECONDS_TO_VALIDATE = 10
# How long other ranks may take to end by themselves.
SECONDS_FOR_RANKS = 10


class Stop(Checkpoint):
    """Ends a run at a signal, between optimiser steps, with a checkpoint.

    Lightning answers SIGTERM by itself, with exit code 0 and no checkpoint; its handler is replaced as soon as it is
    there. Ours only takes note. All ranks agree at the end of each step on whether it was the last. Lightning
    calls checkpoint callbacks last and in their order, and this one belongs behind `LastCheckpoint`.
    """

    def __init__(self, checkpoint: LastCheckpoint) -> None:
        self.checkpoint = checkpoint
        self.signal, self._since, self._saved = 0, 0.0, False
        self._ranks: list[Popen[Any]] = []

    def on_sanity_check_start(self, *args: Any) -> None:
        """Listen from here on in a fresh run."""
        stopping.listen(self._note)

    def on_train_start(self, *args: Any) -> None:
        """Listen from here on in a continued one."""
        stopping.listen(self._note)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the checkpoint; where a validation is due, it comes behind that."""
        if self.checkpoint.is_between_steps(trainer, batch_idx) and self._agreed(trainer, self.signal):
            self.checkpoint.take(trainer)
            self._saved = True

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Leave behind the step whose row is written and whose checkpoint counts."""
        if self._saved:
            self._leave(f"step {trainer.global_step} is saved: {self._way_on()}")

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Leave a validation that takes too long, and that before the first step at once."""
        patience = 0 if trainer.sanity_checking else SECONDS_TO_VALIDATE
        late = self.signal if time.monotonic() - self._since > patience else 0
        if self._agreed(trainer, late):
            step = trainer.global_step
            self._leave(f"in the validation at step {step}, which is not saved: {self._way_on()}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave behind a validation; its checkpoint is written."""
        if not trainer.sanity_checking and self._agreed(trainer, self.signal):
            self._leave(f"step {trainer.global_step} is saved: {self._way_on()}")

    def fit(self, trainer: L.Trainer, module: L.LightningModule, **options: Any) -> None:
        """`trainer.fit`; no rank outlives a stop.

        Raises:
            Stopped: the run was asked to end, and has.
        """
        stopping.own(lambda: self._release(trainer))
        try:
            trainer.fit(module, **options)
            if self.signal:
                self._leave(f"it is trained: {self._way_on()}")
        except RuntimeError as error:
            # Other ranks, and workers that the same signal reached, may be gone already.
            if not self.signal:
                raise
            self._leave(f"and broke off ({first_line(error)}): {self._way_on()}")
        finally:
            stopping.own(list)
            _await(self._ranks)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.signal, self._since = number, time.monotonic()

    def _agreed(self, trainer: L.Trainer, number: int) -> bool:
        """Whether any rank wants to end; then this one does too."""
        strategy = trainer.strategy
        if trainer.world_size > 1:
            mine = torch.tensor(number, device=strategy.root_device)
            number = int(cast(torch.Tensor, strategy.reduce(mine, reduce_op="max")))
        if number:
            self.signal = self.signal or number
            # Before the first of them is gone.
            self._release(trainer)
        return bool(number)

    def _release(self, trainer: L.Trainer) -> list[Popen[Any]]:
        """Take the other ranks from Lightning, whose observer kills this one as soon as one of them has ended."""
        theirs: list[Popen[Any]] = getattr(trainer.strategy.launcher, "procs", [])
        self._ranks += theirs
        theirs.clear()
        return self._ranks

    def _leave(self, text: str) -> NoReturn:
        stopping.leave(self.signal, text)

    def _way_on(self) -> str:
        return way_on(self.checkpoint.path)


def way_on(checkpoint: Path) -> str:
    """How a run is continued, now that it has ended.

    Args:
        checkpoint: the file that it would continue from.
    """
    if not checkpoint.exists():
        return "there is no checkpoint yet, so the same command starts afresh."
    return f"the same command with run.dir={checkpoint.parent.parent} ckpt_path=last continues."


def _await(processes: list[Popen[Any]]) -> None:
    """Have processes end, by themselves if they do."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + SECONDS_FOR_RANKS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except TimeoutExpired:
            process.kill()
            process.wait()
