"""What a run writes while it goes on: the local record first, W&B beside it.

metrics.jsonl never depends on W&B. A resumed run drops the rows behind its checkpoint and writes
them again, so the record of a run that was killed equals that of one that was not.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import wandb

from revlm import keys
from revlm.cache import write_atomically
from revlm.config import LoggerConfig, WandbMode
from revlm.direction import Direction
from revlm.measures.curves import Curves, intersection, smooth
from revlm.training.callbacks import Clock
from revlm.training.modules import DirectionalLM

CURVES = {"all": "curves.csv", "first": "curves_first.csv"}
# Seconds that an unreachable W&B server may cost before the run goes on offline.
WANDB_TIMEOUT = 15


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
        self.folder, self.active = (
            folder,
            int(os.environ.get("LOCAL_RANK", "0")) == 0 == int(os.environ.get("NODE_RANK", "0")),
        )
        self.record = LocalRecord(folder / "metrics.jsonl") if self.active else None
        self.run = _open_wandb(folder, logger, config) if self.active else None

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

    def log(self, row: dict[str, Any], extra: dict[str, Any] | None = None) -> None:
        """A row for the local record; with `extra`, for W&B."""
        if self.record is not None and self.record.write(row) and self.run is not None:
            self.run.log({k: v for k, v in row.items() if v is not None} | (extra or {}))

    def finish(self, summary: dict[str, Any] | None, samples: list[tuple[str, str]]) -> None:
        """Close W&B's run, as failed without a summary, so that the next one is its own."""
        if self.run is None:
            return
        if samples:
            table = wandb.Table(
                columns=["direction", "text in reading order"], data=[list(s) for s in samples]
            )
            self.run.log({"samples": table})
        if summary is not None:
            self.run.summary.update({k: v for k, v in summary.items() if isinstance(v, int | float | str)})
        self.run.finish(exit_code=0 if summary is not None else 1)
        self.run = None


class Recorder(L.Callback):
    """Turns what the trainer does into rows and files."""

    def __init__(self, tracker: Tracker, clock: Clock, *, every: int) -> None:
        """Write a train row every `every` steps."""
        self.tracker, self.clock, self.every = tracker, clock, every
        self._loss: Any = None
        self._optimiser: dict[str, float] = {}
        self._mark = (0.0, 0)

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Speed counts from here."""
        del args
        self._mark = (self.clock.elapsed(), trainer.global_step)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any
    ) -> None:
        """The learning rate and, before clipping, the gradient of this step."""
        if (trainer.global_step + 1) % self.every == 0:
            squares = [p.grad.detach().norm() ** 2 for p in pl_module.parameters() if p.grad is not None]
            self._optimiser = {
                keys.TRAIN_LR: optimizer.param_groups[-1]["lr"],
                keys.TRAIN_GRAD_NORM: float(sum(squares)) ** 0.5,
            }

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A train row at every `every`-th step."""
        del batch, pl_module
        loss = outputs["loss"].detach() / trainer.accumulate_grad_batches
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
                **self._optimiser,
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
        forward, reverse = pl_module.computed["all"].mean().tolist()
        crossing = crossings["all"]
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
        extra = _wandb_curves(pl_module.computed["all"], pl_module.curves_config.smoothing)
        self.tracker.log(row, extra if self.tracker.run is not None else None)
        write_curves(self.tracker.folder, pl_module.computed, step)
        write_atomically(self.tracker.folder / "intersection.json", json.dumps(crossings, indent=2) + "\n")


def write_curves(folder: Path, computed: dict[str, Curves], step: int) -> None:
    """Append this validation to curves.csv and curves_first.csv; replace curves_interval.csv."""
    for name, curves in computed.items():
        path = folder / CURVES[name]
        old = path.read_text().splitlines()[1:] if path.exists() else []
        kept = [row for row in old if int(row.split(",", 1)[0]) < step]
        new = [
            (step, direction.value, i, f"{curves.nll[direction.number, i]:.6f}", int(count))
            for direction in Direction
            for i, count in enumerate(curves.count[direction.number])
            if count
        ]
        header = "step,direction,position,nll,count"
        write_atomically(path, "\n".join([header, *kept]) + "\n" + _csv(new))
    curves = computed["all"]
    if not curves.resampled_nll.shape[1]:
        return
    low, high = curves.interval()
    rows = [
        (step, direction.value, i, *(f"{bound[direction.number, i]:.6f}" for bound in (low, high)))
        for direction in Direction
        for i in np.flatnonzero(curves.count[direction.number])
    ]
    write_atomically(folder / "curves_interval.csv", "step,direction,position,low,high\n" + _csv(rows))


def _open_wandb(folder: Path, logger: LoggerConfig, config: dict[str, Any]) -> Any:
    if logger.wandb is WandbMode.none:
        return None
    options: dict[str, Any] = {
        "project": logger.project,
        "entity": logger.entity,
        "group": config["name"],
        "job_type": "train",
        "name": f"{config['name']}-seed{config['seed']}",
        "tags": [
            config["direction"]["module"],
            config["model"]["name"],
            config["data"]["language"],
            *logger.tags,
        ],
        "config": config,
        "dir": str(folder),
        # A continued run joins its first sitting when it is synced.
        "id": _wandb_id(folder),
        "resume": "allow",
        "reinit": "finish_previous",
        "settings": wandb.Settings(
            init_timeout=WANDB_TIMEOUT, console="off", silent=True, x_disable_meta=True, x_disable_stats=True
        ),
    }
    try:
        run = wandb.init(mode=logger.wandb.value, **options)
    except Exception as error:  # noqa: BLE001 -- no trouble of W&B's may cost a run
        print(f"W&B is not reachable ({str(error).splitlines()[0]}): logging offline.", flush=True)
        run = wandb.init(mode="offline", **options)
    run.define_metric(keys.TOKENS)
    run.define_metric("*", step_metric=keys.TOKENS)
    return run


def _wandb_id(folder: Path) -> str:
    path = folder / "wandb" / "run_id"
    if not path.exists():
        write_atomically(path, secrets.token_hex(4) + "\n")
    return path.read_text().strip()


def _wandb_curves(curves: Curves, smoothing: int) -> dict[str, Any]:
    """The curves as a chart, and a few points as scalars for dashboards that draw no charts."""
    smoothed = smooth(curves.nll, smoothing, curves.count)
    size = curves.nll.shape[1]
    known = [i for i in range(size) if not np.isnan(smoothed[:, i]).any()]
    chart = wandb.plot.line_series(
        xs=known,
        ys=[[float(smoothed[d.number, i]) for i in known] for d in Direction],
        keys=[d.value for d in Direction],
        title="nll by position",
        xname="tokens already read",
    )
    points = [0, *(2**k for k in range(size.bit_length()) if 2**k < size), size - 1]
    scalars = {
        keys.curve(d.value, i): float(curves.nll[d.number, i])
        for d in Direction
        for i in points
        if curves.count[d.number, i]
    }
    return {"curve/by_position": chart, **scalars}


def _plain(value: Any) -> Any:
    """JSON has no nan; a missing number is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _csv(rows: Iterable[tuple[Any, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
