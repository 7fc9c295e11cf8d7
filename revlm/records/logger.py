"""What a run writes while it goes on, as a Lightning logger: the local record first, W&B beside it.

metrics.jsonl never depends on W&B. A resumed run drops the rows behind its checkpoint and writes
them again, so the record of a run that was killed equals that of one that was not.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
from lightning.pytorch.loggers import Logger

from revlm import keys
from revlm.cache import write_atomically
from revlm.config import LoggerConfig
from revlm.measures.crossing import ALL, Curves, intersection
from revlm.measures.curve_files import CURVES, INTERSECTION, INTERVALS, bound_rows, curves_csv, mean_rows
from revlm.records.folder import METRICS, is_first_rank
from revlm.records.wandb_run import WandbRun
from revlm.training.modules import DirectionalLM


class RunLogger(Logger, L.Callback):
    """The record of one run, on rank zero; on other ranks nothing is written.

    The trainer takes it twice: as its logger, to which everything goes that `self.log` names, and as a
    callback, which knows when a row is whole. Lightning hands over the numbers of one step in several
    calls; they make one row, and it is written when the next hook says that the step is over.
    """

    # Lightning would make folders of them.
    name = version = ""

    def __init__(self, folder: Path, logger: LoggerConfig, config: dict[str, Any], *, step: int) -> None:
        """Keep the options; nothing is opened before the trainer sets up.

        Args:
            folder: the run's.
            logger: W&B's options.
            config: plain values, for W&B.
            step: of the checkpoint from which the run goes on; -1 for none.
        """
        self.folder, self.logger, self.config, self.step = folder, logger, config, step
        self.active = is_first_rank()
        self.wandb: WandbRun | None = None
        self._written: set[tuple[int, bool]] = set()
        self._steps: dict[int, dict[str, Any]] = {}
        self._validation: dict[str, Any] = {}

    def setup(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Open the local record, forgetting what lies behind the checkpoint, and W&B's run."""
        self.trainer = trainer
        if not self.active or self.wandb is not None:
            return
        # Rows behind the checkpoint, or all of an attempt that died before its first one.
        rows = [row for row in _rows(self.folder / METRICS) if row[keys.STEP] <= self.step]
        write_atomically(self.folder / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        self._written = {_kind(row) for row in rows}
        for name in CURVES.values():
            if (self.folder / name).exists():
                header, *lines = (self.folder / name).read_text().splitlines()
                _write_lines(self.folder / name, [header, *_until(lines, self.step)])
        self.wandb = WandbRun(self.folder, self.logger, self.config)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Keep some numbers of the step under way, or of the validation.

        Args:
            metrics: by key.
            step: as Lightning counts the steps of training: from 0.
        """
        # A run is one pass over its stream: Lightning's epoch is always 0.
        metrics = {key: value for key, value in metrics.items() if key != "epoch"}
        if self.trainer.validating or self.trainer.sanity_checking:
            # Lightning's step is a number of batches here.
            self._validation |= metrics
            return
        if step is None:
            step = self.trainer.fit_loop.epoch_loop._batches_that_stepped  # noqa: SLF001 -- as Lightning's own
        self._steps.setdefault(step + 1, {}).update(metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml has them, and W&B gets the same."""

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """The step before is over."""
        # Lightning misses one where a run goes on behind a validation that is none of its own, as with a larger budget.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step  # noqa: SLF001
        self._flush()

    def on_validation_start(self, *args: Any) -> None:
        """The step before is over."""
        self._flush()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A validation row, the curves and the crossings."""
        extra, self._validation = self._validation, {}
        if not self.active or not isinstance(pl_module, DirectionalLM):
            return
        documents = trainer.datamodule.val_streams[0].num_documents  # type: ignore[attr-defined]
        config, computed = pl_module.curves_config, pl_module.computed
        crossings = {name: intersection(curves, config, documents) for name, curves in computed.items()}
        measured = validation_numbers(computed[ALL], crossings[ALL])
        # Lightning rounds what it is given to float32: our own numbers stand as they are.
        row = measured | extra | measured
        self._write(trainer.global_step, row, computed[ALL], smoothing=config.smoothing)
        write_curves(self.folder, computed, trainer.global_step)
        write_atomically(self.folder / INTERSECTION, json.dumps(crossings, indent=2) + "\n")

    def finalize(self, status: str) -> None:
        """Write the rows of the steps that were taken, however training ended."""
        self._flush()

    def finish(self, summary: dict[str, Any] | None, samples: list[tuple[str, str]]) -> None:
        """Close W&B's run, with what it came to; as failed without a summary."""
        if self.wandb is not None:
            self.wandb.finish(summary, samples)

    def close(self) -> None:
        """Close W&B's run as failed, unless it is finished already."""
        self.finish(None, [])

    def _flush(self) -> None:
        for step in sorted(step for step in self._steps if step <= self.trainer.global_step):
            self._write(step, self._steps.pop(step))

    def _write(
        self, step: int, numbers: dict[str, Any], curves: Curves | None = None, *, smoothing: int = 1
    ) -> None:
        """A row for the local record, then for W&B, unless this step's is there already."""
        tokens = step * self.trainer.datamodule.tokens_per_step  # type: ignore[attr-defined]
        row = {keys.STEP: step, keys.TOKENS: tokens} | {k: _plain(v) for k, v in numbers.items()}
        if self.wandb is None or _kind(row) in self._written:
            return
        self._written.add(_kind(row))
        with (self.folder / METRICS).open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.wandb.log(row, curves, smoothing=smoothing)


def validation_numbers(curves: Curves, crossing: dict[str, Any]) -> dict[str, Any]:
    """What a validation measures, by key."""
    forward, reverse = curves.mean().tolist()
    return {
        keys.VAL_NLL_FORWARD: forward,
        keys.VAL_NLL_REVERSE: reverse,
        keys.VAL_GAP: reverse - forward,
        keys.VAL_RELATIVE_GAP: (reverse - forward) / forward,
        keys.INTERSECTION_POSITION: crossing["position"],
        keys.INTERSECTION_LOW: crossing["low"],
        keys.INTERSECTION_HIGH: crossing["high"],
        keys.INTERSECTION_NEVER: crossing["share_never"],
    }


def write_curves(folder: Path, computed: dict[str, Curves], step: int) -> None:
    """Append this validation to curves.csv and curves_first.csv; replace curves_interval.csv."""
    for name, curves in computed.items():
        path = folder / CURVES[name]
        header, *new = _at_step(mean_rows(curves), step)
        old = path.read_text().splitlines()[1:] if path.exists() else []
        _write_lines(path, [header, *_until(old, step - 1), *new])
    if computed[ALL].resampled_nll.shape[1]:
        _write_lines(folder / INTERVALS, _at_step(bound_rows(computed[ALL]), step))


def _at_step(rows: pd.DataFrame, step: int) -> list[str]:
    """Lines of CSV under a header, the step in front."""
    rows.insert(0, keys.STEP, step)
    return curves_csv(rows).splitlines()


def _until(lines: list[str], step: int) -> list[str]:
    """Lines of CSV, without a header, up to a step."""
    return [line for line in lines if int(line.split(",", 1)[0]) <= step]


def _write_lines(path: Path, lines: list[str]) -> None:
    write_atomically(path, "\n".join(lines) + "\n")


def _plain(value: Any) -> Any:
    """A number that JSON knows: it has no tensors, and no nan: a missing number is null."""
    if value is None or isinstance(value, int | str):
        return value
    return float(value) if math.isfinite(value) else None


def _kind(row: dict[str, Any]) -> tuple[int, bool]:
    """At most one row is written for each: a step's, and its validation's."""
    return row[keys.STEP], keys.VAL_NLL_FORWARD in row


def _rows(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a file; a killed process may have half written its last one."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows
