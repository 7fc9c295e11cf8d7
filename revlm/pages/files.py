"""A run's folder read back: what it is, its JSON, its curves, and one message about damage."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.records.folder import CONFIG, METRICS, SUMMARY
from revlm.scores.table import MODELS
from revlm.scores.table import SUMMARY as SCORE_SUMMARY
from revlm.selection import RECORD

EVALUATION, ARMS = "results.json", "arms"
# What a folder is, by the names in it that tell; the first kind that fits.
KINDS = (
    ("scores", ((SCORE_SUMMARY,), (CONFIG, "identity.json"), (CONFIG, MODELS))),
    ("selection", ((RECORD,),)),
    ("evaluation", ((EVALUATION,), (CONFIG, ARMS))),
    ("training", ((CONFIG,), (METRICS,), (SUMMARY,))),
)
Crossing = dict[str, Any]


def kind_of(names: Iterable[str]) -> str | None:
    """What a folder with these names in it is, finished or not: a kind of `KINDS`, or no run."""
    inside = set(names)
    fitting = (kind for kind, telling in KINDS if any(inside >= set(together) for together in telling))
    return next(fitting, None)


@dataclass(frozen=True)
class Curve:
    """Columns of one direction's per-position curve, by rising position, each (P,)."""

    position: npt.NDArray[np.float64]
    columns: dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Folder:
    """Files of a run, and what to do about a damaged one, such as "train this run again"."""

    path: Path
    mend: str

    def damaged(self, name: str, what: str) -> UserError:
        """One line: the file, what is wrong with it, and the way out."""
        way_out = f"{self.mend}, or move {self.path} away from the others."
        return UserError(f"{self.path / name}: {what}: {way_out}")

    def parse(self, name: str, parse: Callable[[str], Any]) -> Any:
        """What a file says.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            return parse((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self.damaged(name, "the file is missing") from None
        except (OSError, ValueError, TypeError, YAMLError, OmegaConfBaseException) as error:
            raise self.damaged(name, " ".join(str(error).split())) from None

    def json(self, name: str, needed: Sequence[str] = ()) -> dict[str, Any]:
        """A JSON object that has some keys.

        Raises:
            UserError: it is missing or damaged, or lacks a key.
        """
        found = self.parse(name, json.loads)
        if not isinstance(found, dict):
            raise self.damaged(name, "not a JSON object")
        if lost := [key for key in needed if key not in found]:
            raise self.damaged(name, f"no {', '.join(lost)}")
        return found

    def curves(self, name: str, columns: Sequence[str], *, by: str) -> dict[Any, dict[Direction, Curve]]:
        """Curves of a CSV file by one of its columns, in both directions.

        Args:
            name: of the file.
            columns: of numbers by position.
            by: the column that tells curves apart, such as domain or step.

        Raises:
            UserError: it is missing or damaged, or lacks a column or a direction.
        """
        numbers = ["position", *columns]
        header = [by, "direction", *numbers]
        # A domain may be called NA.
        options: Any = {"dtype": {by: str}, "keep_default_na": False}
        rows = self.parse(name, lambda text: pd.read_csv(io.StringIO(text), **options))
        if lost := [column for column in header if column not in rows]:
            raise self.damaged(name, f"no column {', '.join(lost)}")
        found: dict[Any, dict[Direction, Curve]] = {}
        try:
            rows = rows.assign(**{column: pd.to_numeric(rows[column]).astype(float) for column in numbers})
            for (key, direction), part in rows.sort_values("position").groupby([by, "direction"], sort=False):
                values = {column: part[column].to_numpy() for column in columns}
                found.setdefault(key, {})[Direction(direction)] = Curve(part["position"].to_numpy(), values)
        except (TypeError, ValueError) as error:
            raise self.damaged(name, f"a row is not {','.join(header)} ({error})") from None
        if any(len(directions) < len(Direction) for directions in found.values()):
            raise self.damaged(name, "not both directions")
        return {key: found[key] for key in rows[by].unique()}
