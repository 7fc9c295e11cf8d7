"""What a run writes while it goes on: the local record first, W&B beside it.

metrics.jsonl never depends on W&B. A resumed run drops the rows behind its checkpoint and writes
them again, so the record of a run that was killed equals that of one that was not.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import lightning as L
import pandas as pd

from revlm import keys
from revlm.cache import write_atomically
from revlm.config import LoggerConfig
from revlm.measures.crossing import ALL, Curves, intersection
from revlm.measures.curve_files import CURVES, INTERSECTION, INTERVALS, bound_rows, curves_csv, mean_rows
from revlm.records.folder import METRICS, is_first_rank
from revlm.records.wandb_run import WandbRun
from revlm.training.callbacks import Clock
from revlm.training.modules import DirectionalLM


class LocalRecord:
    """metrics.jsonl: one JSON object a row, at most one train and one validation row a step."""

    def __init__(self, path: Path) -> None:
        """Open, keeping what is there."""
        self.path = path
        self._seen = {self._kind(row) for row in self._rows()}

    def write(self, row: dict[str, Any]) -> bool:
        """Append a row; False when this step's is there already."""
        kind = self._kind(row)
        if kind in self._seen:
            return False
        self._seen.add(kind)
        clean = {k: _plain(v) for k, v in row.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(clean) + "\n")
        return True

    def truncate(self, step: int) -> None:
        """Drop rows behind a checkpoint at `step`, and what a killed process half wrote."""
        rows = [row for row in self._rows() if row[keys.STEP] <= step]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in rows))
        self._seen = {self._kind(row) for row in rows}

    def _rows(self) -> list[dict[str, Any]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [row for row in map(_parse, lines) if row is not None]

    @staticmethod
    def _kind(row: dict[str, Any]) -> tuple[int, bool]:
        return row[keys.STEP], keys.VAL_NLL_FORWARD in row


class Tracker:
    """The record of one run, on rank zero; on other ranks nothing is written."""

    def __init__(self, folder: Path, logger: LoggerConfig, *, config: dict[str, Any]) -> None:
        """Open the local record and, unless it is turned off, a W&B run of its own.

        Args:
            folder: the run's.
            logger: W&B's options.
            config: plain values, for W&B.
        """
        self.folder, self.active = folder, is_first_rank()
        self.record = LocalRecord(folder / METRICS) if self.active else None
        self.wandb = WandbRun(folder, logger, config) if self.active else None

    def resume(self, step: int) -> None:
        """Forget what lies behind the checkpoint."""
        if not self.active or self.record is None:
            return
        self.record.truncate(step)
        for name in CURVES.values():
            path = self.folder / name
            if path.exists():
                header, *rows = path.read_text().splitlines()
                kept = [row for row in rows if int(row.split(",", 1)[0]) <= step]
                write_atomically(path, "\n".join([header, *kept]) + "\n")

    def log(self, row: dict[str, Any], curves: Curves | None = None, *, smoothing: int = 1) -> None:
        """A row for the local record, then for W&B, with the curves of a validation."""
        if self.record is not None and self.record.write(row) and self.wandb is not None:
            self.wandb.log(row, curves, smoothing=smoothing)

    def finish(self, summary: dict[str, Any] | None, samples: list[tuple[str, str]]) -> None:
        """Close W&B's run."""
        if self.wandb is not None:
            self.wandb.finish(summary, samples)


class Recorder(L.Callback):
    """Turns what the trainer does into rows and files."""

    def __init__(self, tracker: Tracker, clock: Clock, *, every: int) -> None:
        """Write a train row every `every` steps."""
        self.tracker, self.clock, self.every = tracker, clock, every
        self._loss: Any = None
        self._lr = 0.0
        self._mark = (0.0, 0)

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Speed counts from here."""
        del args
        self._mark = (self.clock.elapsed(), trainer.global_step)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any
    ) -> None:
        """The learning rate of this step."""
        del trainer, pl_module
        self._lr = optimizer.param_groups[-1]["lr"]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A train row at every `every`-th step."""
        del batch
        # Lightning hands out the loss divided by the number of micro-batches: their sum is the step's.
        loss = outputs["loss"].detach()
        self._loss = loss if self._loss is None else self._loss + loss
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        step, loss, self._loss = trainer.global_step, self._loss, None
        if step % self.every:
            return
        loss = trainer.strategy.reduce(loss, reduce_op="mean")
        per_step = trainer.datamodule.tokens_per_step  # type: ignore[attr-defined]
        seconds, since = self.clock.elapsed() - self._mark[0], step - self._mark[1]
        self._mark = (self.clock.elapsed(), step)
        self.tracker.log(
            {
                keys.STEP: step,
                keys.TOKENS: step * per_step,
                keys.TRAIN_NLL: float(loss),
                keys.TRAIN_LR: self._lr,
                keys.TRAIN_GRAD_NORM: float(cast(DirectionalLM, pl_module).grad_norm),
                keys.TOKENS_PER_SECOND: since * per_step / seconds if seconds > 0 else None,
            }
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A validation row, the curves and the crossings."""
        if not self.tracker.active or not isinstance(pl_module, DirectionalLM):
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        documents = data.val_streams[0].num_documents
        crossings = {
            name: intersection(curves, pl_module.curves_config, documents)
            for name, curves in pl_module.computed.items()
        }
        step = trainer.global_step
        forward, reverse = pl_module.computed[ALL].mean().tolist()
        crossing = crossings[ALL]
        row = {
            keys.STEP: step,
            keys.TOKENS: step * data.tokens_per_step,
            keys.VAL_NLL_FORWARD: forward,
            keys.VAL_NLL_REVERSE: reverse,
            keys.VAL_GAP: reverse - forward,
            keys.VAL_RELATIVE_GAP: (reverse - forward) / forward,
            keys.INTERSECTION_POSITION: crossing["position"],
            keys.INTERSECTION_LOW: crossing["low"],
            keys.INTERSECTION_HIGH: crossing["high"],
            keys.INTERSECTION_NEVER: crossing["share_never"],
        }
        smoothing = pl_module.curves_config.smoothing
        self.tracker.log(row, pl_module.computed[ALL], smoothing=smoothing)
        write_curves(self.tracker.folder, pl_module.computed, step)
        write_atomically(self.tracker.folder / INTERSECTION, json.dumps(crossings, indent=2) + "\n")


def write_curves(folder: Path, computed: dict[str, Curves], step: int) -> None:
    """Append this validation to curves.csv and curves_first.csv; replace curves_interval.csv."""
    for name, curves in computed.items():
        path = folder / CURVES[name]
        header, *new = _at_step(mean_rows(curves), step)
        old = path.read_text().splitlines()[1:] if path.exists() else []
        kept = [row for row in old if int(row.split(",", 1)[0]) < step]
        write_atomically(path, "\n".join([header, *kept, *new]) + "\n")
    if computed[ALL].resampled_nll.shape[1]:
        rows = _at_step(bound_rows(computed[ALL]), step)
        write_atomically(folder / INTERVALS, "\n".join(rows) + "\n")


def _at_step(rows: pd.DataFrame, step: int) -> list[str]:
    """Lines of CSV under a header, the step in front."""
    rows.insert(0, keys.STEP, step)
    return curves_csv(rows).splitlines()


def _plain(value: Any) -> Any:
    """JSON has no nan; a missing number is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
