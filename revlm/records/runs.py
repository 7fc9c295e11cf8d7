"""A run's folder read back: every file checked, the last validation's curves, one object."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from revlm import keys
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.records.folder import flatten

FloatArray = npt.NDArray[np.float64]

# Written last: a folder that holds it is a finished run.
SUMMARY = "summary.json"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"

NEEDED = (
    "name", "seed", "module", "nll_forward", "nll_reverse", "gap", "tokens", "language", "corpus_fingerprint",
)  # fmt: skip


# Options without which a run cannot be named or compared.
OPTIONS = ("name", "seed", "direction.module", "direction.reverse_ratio", "budget.tokens", "data.window")


@dataclass(frozen=True)
class Curve:
    """Columns of one direction's per-position curve, by rising position, each (P,)."""

    position: FloatArray
    columns: dict[str, FloatArray]


@dataclass(frozen=True)
class Run:
    """What one training run left behind; curves are those of its last validation, by direction."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]
    intersection: dict[str, dict[str, Any]]
    curves: dict[Direction, Curve]
    first_curves: dict[Direction, Curve] = field(default_factory=dict)
    intervals: dict[Direction, Curve] = field(default_factory=dict)

    @property
    def validations(self) -> list[dict[str, Any]]:
        """Rows of validation, in order."""
        return [row for row in self.metrics if keys.VAL_NLL_FORWARD in row]


def number(value: Any) -> float:
    """A recorded number; what was no finite number is recorded as null, and comes back as nan."""
    return math.nan if value is None else float(value)


def read_run(folder: Path | str, *, finished: bool = True) -> Run:
    """The run in a folder.

    Args:
        folder: what training printed last.
        finished: ask for the files that only a finished run has; without, they may be absent.

    Raises:
        UserError: the folder is no run, the run is unfinished, or a file is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder: give the folder that training printed last.")
    if finished and not (folder / SUMMARY).is_file():
        raise UserError(
            f"{folder}: no {SUMMARY}, so this run is not finished: "
            f"continue it with python -m revlm.train run.dir={folder} ckpt_path=last and its other options."
        )
    summary = _json(folder / SUMMARY) if (folder / SUMMARY).is_file() else {}
    crossing = folder / "intersection.json"
    run = Run(
        folder=folder,
        config=_config(folder / CONFIG),
        summary=summary,
        metrics=_metrics(folder / METRICS),
        intersection=_json(crossing) if finished or crossing.is_file() else {},
        curves=_curves(folder / "curves.csv", ("nll", "count")),
        first_curves=_curves(folder / "curves_first.csv", ("nll", "count"), optional=True),
        intervals=_curves(folder / "curves_interval.csv", ("low", "high"), optional=True),
    )
    if finished and (lost := [key for key in NEEDED if key not in summary]):
        raise _damaged(folder / SUMMARY, f"no {', '.join(lost)}")
    if not run.validations:
        raise _damaged(folder / METRICS, "no row of validation")
    if any(not run.curves.get(direction) for direction in Direction):
        raise _damaged(folder / "curves.csv", "not both directions")
    return run


def _config(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    # The run wrote it resolved: an interpolation from elsewhere stays the text it is.
    config = _parse(path, lambda text: OmegaConf.to_container(OmegaConf.create(text), resolve=False))
    known = flatten(config)
    if lost := [key for key in OPTIONS if key not in known]:
        raise _damaged(path, f"no {', '.join(lost)}")
    return dict(config)


def _json(path: Path) -> dict[str, Any]:
    value = _parse(path, json.loads)
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    return value


def _metrics(path: Path) -> list[dict[str, Any]]:
    """Rows by rising step; what a continued run did again counts once, as done last."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_parse(path, str.splitlines), start=1):
        try:
            row = json.loads(line)
            step = row[keys.STEP]
        except (ValueError, KeyError, TypeError):
            raise _damaged(path, f"line {number} is not a row of metrics") from None
        if rows and step < rows[-1][keys.STEP]:
            rows = [earlier for earlier in rows if earlier[keys.STEP] < step]
        rows.append(row)
    return rows


def _curves(path: Path, columns: Sequence[str], *, optional: bool = False) -> dict[Direction, Curve]:
    """Curves of the last validation in a file, by direction."""
    if optional and not path.is_file():
        return {}
    reader = _parse(path, lambda text: csv.DictReader(text.splitlines()))
    header = [keys.STEP, "direction", "position", *columns]
    if lost := [name for name in header if name not in (reader.fieldnames or [])]:
        raise _damaged(path, f"no column {', '.join(lost)}")
    rows = list(reader)
    try:
        last = max((int(row[keys.STEP]) for row in rows), default=0)
        points: dict[Direction, dict[int, list[float]]] = {}
        for row in rows:
            if int(row[keys.STEP]) == last:
                values = [float(row[column]) for column in columns]
                points.setdefault(Direction(row["direction"]), {})[int(row["position"])] = values
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"a row is not {','.join(header)} ({error})") from None
    return {direction: _curve(by_position, columns) for direction, by_position in points.items()}


def _curve(by_position: dict[int, list[float]], columns: Sequence[str]) -> Curve:
    positions = sorted(by_position)
    values = np.asarray([by_position[position] for position in positions], dtype=np.float64)
    return Curve(
        position=np.asarray(positions, dtype=np.float64),
        columns={column: values[:, index] for index, column in enumerate(columns)},
    )


def _parse(path: Path, parse: Callable[[str], Any]) -> Any:
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _damaged(path, "the file is missing") from None
    except (ValueError, YAMLError, OmegaConfBaseException) as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path}: {what}: train this run again, or move {path.parent} away from the others.")
