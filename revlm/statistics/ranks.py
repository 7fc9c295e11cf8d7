"""Rank correlations of rows that come in clusters: intervals by resampling the clusters, ranks and all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from revlm.statistics.bootstrap import IntArray, clusters_of, interval, resampled
from revlm.statistics.correlations import partial_correlation
from revlm.statistics.effect import Effect, FloatArray

RESAMPLES = 2_000


def partial_rank_effect(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    controls: Sequence[npt.ArrayLike] = (),
    clusters: npt.ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Effect:
    """Rank correlation given other columns, with the interval over clusters of rows.

    Copies of one document are no independent evidence, so all rows of a cluster are drawn together,
    and each resample is ranked anew.

    Args:
        x: (n,) numbers.
        y: (n,) numbers.
        controls: each (n,) numbers.
        clusters: (n,) what is drawn together; None: each row by itself.
        resamples: of clusters.
        seed: of the resamples.

    Returns:
        The value is `partial_correlation`'s; n counts clusters. Without an interval where a column is constant.
    """
    columns = np.stack([np.asarray(column, dtype=np.float64) for column in (x, y, *controls)])
    kept = np.asarray(np.isfinite(columns).all(axis=0))
    columns, codes = columns[:, kept], clusters_of(clusters, kept)
    value = partial_correlation(columns[0], columns[1], list(columns[2:])).value
    size = int(codes.max(initial=-1)) + 1
    if math.isnan(value):
        return Effect(value, n=size)
    # A constant control explains nothing and would make the matrix singular.
    columns = columns[np.ptp(columns, axis=1) > 0]
    orders = [_order(column) for column in columns]
    drawn = [
        _correlations(orders, counts[:, codes])
        for (counts,) in resampled((size,), resamples, seed, width=columns.size)
    ]
    return interval(value, np.concatenate(drawn), size, 0.0).bounded(-1, 1)


def _order(column: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
    """The rising order (n,) of values; and for each value how many lie below it (n,), and how many not above it (n,)."""
    order = np.argsort(column, kind="stable")
    low, high = (np.searchsorted(column[order], column, side) for side in ("left", "right"))
    return order, low, high


def _correlations(orders: Sequence[tuple[IntArray, IntArray, IntArray]], counts: FloatArray) -> FloatArray:
    """(R,) partial correlations of the first two of k columns (n,), each row standing there (R, n) times."""
    ranks = np.stack([_ranks(*order, counts) for order in orders], axis=1)
    ranks -= (ranks @ counts[:, :, None]) / counts.sum(axis=1)[:, None, None]
    inverse = np.linalg.pinv((ranks * counts[:, None]) @ ranks.transpose(0, 2, 1), hermitian=True)
    # Of few rows, a resample may hold no spread in one of the two: it has no correlation.
    with np.errstate(invalid="ignore"):
        found: FloatArray = -inverse[:, 0, 1] / np.sqrt(inverse[:, 0, 0] * inverse[:, 1, 1])
    return found


def _ranks(order: IntArray, low: IntArray, high: IntArray, counts: FloatArray) -> FloatArray:
    """(R, n) ranks of a column in each resample; ties share theirs."""
    below = np.zeros((len(counts), len(order) + 1))
    np.cumsum(np.take(counts, order, axis=1), axis=1, out=below[:, 1:])
    ranks = np.take(below, low, axis=1)
    ranks += np.take(below, high, axis=1)
    ranks += 1
    ranks /= 2
    return ranks
