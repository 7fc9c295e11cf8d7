"""Curves as files: the names and the one writer that training runs, scoring runs and studies share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from revlm.direction import Direction
from revlm.measures.crossing import ALL, FIRST, Curves

# What the windows are -> their curves.
CURVES = {ALL: "curves.csv", FIRST: "curves_first.csv"}
INTERVALS = "curves_interval.csv"
INTERSECTION = "intersection.json"
MEANS, BOUNDS = ("nll", "count"), ("low", "high")


def mean_rows(curves: Curves) -> pd.DataFrame:
    """Columns direction, position, nll, count: a row for each position where tokens were counted."""
    return _rows(curves, nll=curves.nll, count=curves.count.astype(np.int64))


def bound_rows(curves: Curves) -> pd.DataFrame:
    """Columns direction, position, low, high: the interval of each curve, where tokens were counted."""
    low, high = curves.interval()
    return _rows(curves, low=low, high=high)


def curves_csv(rows: pd.DataFrame) -> str:
    """Rows as CSV; losses keep six decimals, which is more than they carry."""
    return str(rows.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


def _rows(curves: Curves, **columns: np.ndarray) -> pd.DataFrame:
    number, position = np.nonzero(curves.count)
    names = np.array([direction.value for direction in Direction])
    values = {name: column[number, position] for name, column in columns.items()}
    return pd.DataFrame({"direction": names[number], "position": position} | values)
