"""When each part of a training run begins and ends, as Lightning's hooks tell it."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass
from typing import Any

import lightning as L

# The first batches of either kind are slower: caches fill, kernels are chosen.
WARM = 2


@dataclass(frozen=True)
class Timings:
    """Seconds of the parts of a short run.

    Attributes:
        setup: until the first validation: the trainer, its loggers, the streams.
        micro_batch: forward and backward, with all that Lightning does between two of them.
        optimiser: a step's own work.
        val_batch: a validation's batch.
        validation: what a validation takes beside its batches: curves, their crossings, records.
        first_validation: beside its batches.
        first_step: by how much the first micro-batch is slower.
        checkpoint: writing one.
        teardown: behind the last checkpoint.
    """

    setup: float
    micro_batch: float
    optimiser: float
    val_batch: float
    validation: float
    first_validation: float
    first_step: float
    checkpoint: float
    teardown: float


class Stopwatch(L.Callback):
    """Notes the time at hooks, and ends the training once it has seen enough."""

    def __init__(self, seconds: float, least: int) -> None:
        """Begin.

        Args:
            seconds: after which training stops.
            least: micro-batches that it takes at least.
        """
        self.seconds, self.least = seconds, least
        self.began = time.perf_counter()
        self.batches: list[float] = []
        self.optimisers: list[float] = []
        self.validations: list[tuple[float, list[tuple[int, float]], float]] = []
        self._val: list[tuple[int, float]] = []
        self._closed = self._val_began = self.trained = 0.0

    def on_validation_start(self, *args: Any) -> None:
        """A validation begins."""
        self._val, self._val_began = [], time.perf_counter()

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A batch of it begins."""
        self._val.append((dataloader_idx, time.perf_counter()))

    def on_validation_end(self, *args: Any) -> None:
        """A validation is over, and its record written."""
        self.validations.append((self._val_began, self._val, time.perf_counter()))

    def on_train_batch_start(self, *args: Any) -> None:
        """A micro-batch begins."""
        self.batches.append(time.perf_counter())

    def on_before_optimizer_step(self, *args: Any) -> None:
        """Gradients are there."""
        self._closed = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """A micro-batch is over, and with some of them a step."""
        now = time.perf_counter()
        self.optimisers.append(now - self._closed if self._closed > self.batches[-1] else 0.0)
        stepped = any(self.optimisers)
        if stepped and len(self.batches) >= self.least and now - self.batches[0] > self.seconds:
            trainer.should_stop = True
        self.trained = now

    def on_train_end(self, *args: Any) -> None:
        """The last checkpoint is written."""
        self.ended = time.perf_counter()

    def timings(self) -> Timings:
        """The parts, once the trainer is done."""
        first, last = self.validations[0], self.validations[-1]
        val_batch = _period(last[1]) if len(last[1]) > WARM else _period(first[1])
        # From a micro-batch's beginning to the next one's, without the steps that some of them end with.
        ends = [*self.batches[1:], self.trained]
        periods = [end - at - step for at, end, step in zip(self.batches, ends, self.optimisers, strict=True)]
        micro = statistics.median(periods[WARM:] or periods[-1:])
        steps = [seconds for seconds in self.optimisers if seconds]
        optimiser = statistics.median(steps[1:] or steps)
        rest = [end - began - len(batches) * val_batch for began, batches, end in (first, last)]
        return Timings(
            setup=first[0] - self.began,
            micro_batch=micro,
            optimiser=optimiser,
            val_batch=val_batch,
            validation=max(0.0, rest[1]),
            first_validation=max(0.0, rest[0]),
            first_step=max(0.0, periods[0] - micro) + max(0.0, steps[0] - optimiser),
            checkpoint=self.ended - last[2],
            teardown=time.perf_counter() - self.ended,
        )


def _period(batches: list[tuple[int, float]]) -> float:
    """Seconds from a batch's beginning to the next one's, within one direction."""
    pairs = list(itertools.pairwise(batches))
    same = [b[1] - a[1] for a, b in pairs if a[0] == b[0]] or [b[1] - a[1] for a, b in pairs]
    return statistics.median(same)
