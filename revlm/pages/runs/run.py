"""A training run's folder read back: every file checked, the last validation's curves, one object."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from revlm import keys
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.crossing import ALL
from revlm.measures.curve_files import BOUNDS, CURVES, INTERSECTION, INTERVALS, MEANS
from revlm.pages.files import Crossing, Curve, Folder
from revlm.records.folder import CONFIG, METRICS, SUMMARY, flatten
from revlm.statistics.kneser_ney import ORDERS

NEEDED = (
    "name", "seed", "module", "nll_forward", "nll_reverse", "gap", "tokens", "language", "corpus_fingerprint",
)  # fmt: skip
# Of the n-gram models of a run's text, the one that stands beside its losses.
COUNTED = ORDERS[-1]
# Options without which a run cannot be named or compared.
OPTIONS = ("name", "seed", "direction.module", "direction.reverse_ratio", "budget.tokens", "data.window")


@dataclass(frozen=True)
class Run:
    """What one training run left behind; curves are those of its last validation, by windows and direction."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]
    intersection: dict[str, Crossing]
    curves: dict[str, dict[Direction, Curve]]
    intervals: dict[Direction, Curve]

    @property
    def validations(self) -> list[dict[str, Any]]:
        """Rows of validation, in order."""
        return [row for row in self.metrics if keys.VAL_NLL_FORWARD in row]

    def counted(self, direction: Direction, order: int = COUNTED) -> float | None:
        """Loss of an n-gram model of the run's own text; None where none was counted, as in older runs."""
        losses: dict[str, float] = (self.summary.get("counted_nll") or {}).get(direction, {})
        return losses.get(str(order))


def number(value: Any) -> float:
    """A recorded number; what was no finite number is recorded as null, and comes back as nan."""
    return math.nan if value is None else float(value)


def read_run(folder: Path | str, *, finished: bool = True) -> Run:
    """The run in the folder that training printed last.

    Args:
        folder: of the run.
        finished: ask for the files that only a finished run has; without, they may be absent.

    Raises:
        UserError: the folder is no run, the run is unfinished, or a file is damaged.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder: give the folder that training printed last.")
    is_finished = (path / SUMMARY).is_file()
    if finished and not is_finished:
        raise UserError(
            f"{path}: no {SUMMARY}, so this run is not finished: "
            f"continue it with python -m revlm.train {shlex.quote(f'run.dir={path}')} ckpt_path=last and its other options."
        )
    files = Folder(path, "train this run again")
    run = Run(
        folder=path,
        config=_config(files),
        summary=files.json(SUMMARY, NEEDED if finished else ()) if is_finished else {},
        metrics=_metrics(files),
        intersection=files.json(INTERSECTION) if finished or (path / INTERSECTION).is_file() else {},
        curves={windows: _last(files, name, MEANS) for windows, name in CURVES.items()},
        intervals=_last(files, INTERVALS, BOUNDS),
    )
    if not run.validations:
        raise files.damaged(METRICS, "no row of validation")
    if not run.curves[ALL]:
        raise files.damaged(CURVES[ALL], "not both directions")
    return run


def _config(files: Folder) -> dict[str, Any]:
    # The run wrote it resolved: an interpolation from elsewhere stays the text it is.
    config = files.parse(CONFIG, lambda text: OmegaConf.to_container(OmegaConf.create(text), resolve=False))
    known = flatten(config)
    if lost := [key for key in OPTIONS if key not in known]:
        raise files.damaged(CONFIG, f"no {', '.join(lost)}")
    return dict(config)


def _metrics(files: Folder) -> list[dict[str, Any]]:
    """Rows by rising step; what a continued run did again counts once, as done last."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(files.parse(METRICS, str.splitlines), start=1):
        try:
            row = json.loads(line)
            step = row[keys.STEP]
        except (ValueError, KeyError, TypeError):
            raise files.damaged(METRICS, f"line {number} is not a row of metrics") from None
        if rows and step < rows[-1][keys.STEP]:
            rows = [earlier for earlier in rows if earlier[keys.STEP] < step]
        rows.append(row)
    return rows


def _last(files: Folder, name: str, columns: Sequence[str]) -> dict[Direction, Curve]:
    """Curves of the last validation in a file, by direction; only curves of all windows must be there."""
    if name != CURVES[ALL] and not (files.path / name).is_file():
        return {}
    by_step = files.curves(name, columns, by=keys.STEP)
    return by_step[max(by_step, key=int)] if by_step else {}
