"""Rank and linear correlations with intervals: plain, given other columns, and within groups.

Every result says how many rows it rests on. Rows with a value that is no finite number are left
out. Where an interval would mean nothing (fewer than four rows, a constant column, a correlation
of exactly one), there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from revlm.statistics.effect import LEVEL, Effect, FloatArray

IntArray = npt.NDArray[np.int64]
FEWEST = 4  # rows: Fisher's z has 1 / (n - 3) in it
EXACT = 1e-12
ROUNDING = 1e-10


def correlation(x: npt.ArrayLike, y: npt.ArrayLike, *, rank: bool = True) -> Effect:
    """How far two columns rise together.

    Unchanged, as ranks, by any rising function of either column.

    Args:
        x: (n,) numbers.
        y: (n,) numbers.
        rank: Spearman's, else Pearson's.

    Returns:
        r with its interval by Fisher's z; nan for n < 4 or a constant column.

    Source: standard errors of Bonett & Wright (2000, Psychometrika 65) for ranks, of Fisher (1921) else.
    """
    x, y = _complete(x, y)
    if len(x) < FEWEST:
        return Effect(math.nan, n=len(x))
    if rank:
        x, y = _ranks(x), _ranks(y)
    return _with_interval(_pearson(x, y), len(x), len(x) - 3, rank=rank)


def partial_correlation(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    controls: Sequence[npt.ArrayLike],
    categories: Sequence[npt.ArrayLike] = (),
) -> Effect:
    """Rank correlation of what linear regression on the controls leaves of both columns.

    All columns are ranks; each combination of categories has a mean of its own, as with one-hot
    columns and their products. With no controls it is `correlation`. Ranks of normal columns that
    are independent given the controls come out near 0, within a few hundredths, not exactly at 0.

    Args:
        x: (n,) numbers.
        y: (n,) numbers.
        controls: each (n,) numbers.
        categories: each (n,) whole numbers, equal where the category is.

    Returns:
        r; the interval counts n less the columns (and combinations less one) that were controlled.

    Source: Kim (2015, ppcor) for the degrees; Bonett & Wright (2000) for the standard error.
    """
    x, y, *others = _complete(x, y, *controls, *categories)
    if len(x) < FEWEST:
        return Effect(math.nan, n=len(x))
    numbers, cells = others[: len(controls)], _cells(others[len(controls) :], len(x))
    ranks = _ranks(x), _ranks(y)
    left, used = _residuals(np.stack(ranks, axis=1), [_ranks(c) for c in numbers], cells)
    return _with_interval(_pearson(left[:, 0], left[:, 1], ranks), len(x), len(x) - 3 - used, rank=True)


def pooled_correlation(x: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike) -> Effect:
    """Rank correlation inside groups, as one number: what differences between groups leave untouched.

    Small samples pull rank correlations towards 0, and many small groups would pull all together;
    Kendall's tau says by how much, and each group is corrected before they are averaged.

    Args:
        x: (n,) numbers.
        y: (n,) numbers.
        groups: (n,) whole numbers; groups of fewer than four rows, or with a constant column, are left out.

    Returns:
        The groups' mean correlation, weighted by rows; n counts the rows that were used.

    Source: the expectation of Spearman's r in samples, Daniels (1950); unbiased as in Moran (1948).
    """
    x, y, group = _complete(x, y, groups)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    found = [
        (_unbiased(one, other), len(one))
        for one, other in zip(np.split(x[order], ends), np.split(y[order], ends), strict=True)
        if len(one) >= FEWEST
    ]
    known = [(r, size) for r, size in found if not math.isnan(r)]
    if not known:
        return Effect(math.nan)
    size = sum(size for _, size in known)
    r = float(np.clip(sum(r * size for r, size in known) / size, -1, 1))
    degrees = size**2 / sum(count**2 / (count - 3) for _, count in known)
    return _with_interval(r, size, degrees, rank=True)


def explained_by(
    category: npt.ArrayLike,
    y: npt.ArrayLike,
    controls: Sequence[npt.ArrayLike] = (),
    categories: Sequence[npt.ArrayLike] = (),
) -> Effect:
    """Share of the variance of ranks of y that a category explains (eta squared), beyond the controls.

    The estimate is corrected for what categories explain by chance (epsilon squared), so that it is
    near 0, below or above, where there is nothing; eta squared as computed never is. Its interval
    holds the values whose noncentral F would not be surprised by the one observed: an F-based one,
    since a bootstrap inherits the bias and cannot reach 0.

    Args:
        category: (n,) whole numbers, equal where the category is.
        y: (n,) numbers.
        controls: each (n,) numbers, as ranks.
        categories: each (n,) whole numbers.

    Returns:
        The share; nan where the category is constant, given the others, or nothing is left.

    Source: Kelley (1935) for the estimate, Smithson (2003, Confidence Intervals) for the interval.
    """
    y, category, *others = _complete(y, category, *controls, *categories)
    size = len(y)
    nothing = Effect(math.nan, n=size)
    if size < FEWEST:
        return nothing
    numbers, known = [_ranks(c) for c in others[: len(controls)]], others[len(controls) :]
    before, used = _residuals(_ranks(y)[:, None], numbers, _cells(known, size))
    after, more = _residuals(_ranks(y)[:, None], numbers, _cells([*known, category], size))
    gained, left = more - used, size - 1 - more
    total, rest = float((before**2).sum()), float((after**2).sum())
    if gained < 1 or left < 1 or total <= EXACT * size**3:
        return nothing
    share = 1 - rest / total * (size - 1 - used) / left
    if rest <= EXACT * total:
        return Effect(1.0, n=size)
    low, high = _noncentral((total - rest) / gained / (rest / left), gained, left)
    return Effect(share, low, high, size)


def as_columns(found: Effect) -> dict[str, float | int | None]:
    """A correlation as the columns r, low, high and n of a CSV file."""
    return {"r": found.value, "low": found.low, "high": found.high, "n": found.n}


def _complete(*columns: npt.ArrayLike) -> list[FloatArray]:
    """Columns as float64, rows with a value that is no finite number left out."""
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    kept = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    return [array[kept] for array in arrays]


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks less their mean; ties share theirs."""
    ranks: FloatArray = stats.rankdata(values) - (len(values) + 1) / 2
    return ranks


def _unbiased(x: FloatArray, y: FloatArray) -> float:
    """Spearman's r corrected for the size of the sample; nan for a constant column."""
    r, size = _pearson(_ranks(x), _ranks(y)), len(x)
    if math.isnan(r):
        return r
    tau = float(stats.kendalltau(x, y, method="asymptotic").statistic)
    return ((size + 1) * r - 3 * tau) / (size - 2)


def _cells(categories: Sequence[npt.NDArray[Any]], size: int) -> IntArray:
    """(n,) number of each row's combination of categories, from 0 on."""
    cells = np.zeros(size, dtype=np.int64)
    for category in categories:
        codes = np.unique(category, return_inverse=True)[1].reshape(-1)
        both = cells * (int(codes.max(initial=0)) + 1) + codes
        cells = np.unique(both, return_inverse=True)[1].reshape(-1)
    return cells


def _residuals(
    columns: FloatArray, controls: Sequence[FloatArray], cells: IntArray
) -> tuple[FloatArray, int]:
    """Columns (n, m) less their regression on controls and cells, and the degrees that it took.

    Means by cell are taken off all columns first, which is regression on one-hot columns without
    making them (Frisch and Waugh).
    """
    sizes = np.bincount(cells)

    def centred(values: FloatArray) -> FloatArray:
        return values - (np.bincount(cells, weights=values) / sizes)[cells]

    left = np.stack([centred(column) for column in columns.T], axis=1)
    used = len(sizes) - 1
    if controls:
        design = np.stack([centred(control) for control in controls], axis=1)
        scale = np.sqrt((design**2).sum(axis=0))
        design = design[:, scale > EXACT * len(cells)] / scale[scale > EXACT * len(cells)]
        fit, _, rank, _ = np.linalg.lstsq(design, left, rcond=1e-9)
        left, used = left - design @ fit, used + int(rank)
    return left, used


def _pearson(x: FloatArray, y: FloatArray, of: tuple[FloatArray, FloatArray] | None = None) -> float:
    """No number where nothing but rounding is left of either column, or of what it was made of."""
    size_x, size_y = (float(np.linalg.norm(column)) for column in of or (x, y))
    x, y = x - x.mean(), y - y.mean()
    spread_x, spread_y = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    if spread_x <= ROUNDING * size_x or spread_y <= ROUNDING * size_y:
        return math.nan
    return float(np.clip(x @ y / spread_x / spread_y, -1, 1))


def _with_interval(r: float, size: int, degrees: float, *, rank: bool) -> Effect:
    if math.isnan(r) or degrees < 1 or abs(r) > 1 - EXACT:
        return Effect(math.nan if degrees < 1 else r, n=size)
    error = math.sqrt((1 + r * r / 2 if rank else 1) / degrees)
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    return Effect(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), size)


def _noncentral(statistic: float, gained: int, left: int) -> tuple[float, float]:
    """Interval of the explained share from an observed F."""

    def share(probability: float) -> float:
        """Share at which an F this small or smaller has that probability."""

        def surplus(noncentrality: float) -> float:
            return float(stats.ncf.cdf(statistic, gained, left, noncentrality)) - probability

        if stats.f.cdf(statistic, gained, left) <= probability:
            return 0.0
        high = max(1.0, gained * statistic)
        while surplus(high) > 0:
            high *= 2
        found = float(optimize.brentq(surplus, 1e-12, high, xtol=1e-6, rtol=1e-9))
        return found / (found + gained + left + 1)

    return share((1 + LEVEL) / 2), share((1 - LEVEL) / 2)
