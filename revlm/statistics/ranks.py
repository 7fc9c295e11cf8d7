"""Rank correlations of rows that come in clusters: intervals by resampling the clusters, ranks and all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from revlm.statistics.bootstrap import chunks, cluster_counts, clusters_of, interval
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
    rng = np.random.default_rng(seed)
    drawn = [
        _correlations(columns, cluster_counts(rng, size, chunk)[:, codes])
        for chunk in chunks(resamples, columns.shape[1])
    ]
    return interval(value, np.concatenate(drawn), size, 0.0).bounded(-1, 1)


def _correlations(columns: FloatArray, counts: FloatArray) -> FloatArray:
    """(R,) partial correlations of the first two of (k, n) columns, each row standing there (R, n) times."""
    ranks = np.stack([_ranks(column, counts) for column in columns], axis=1)
    total = counts.sum(axis=1)
    ranks -= np.einsum("rkn,rn->rk", ranks, counts)[:, :, None] / total[:, None, None]
    inverse = np.linalg.pinv(
        np.einsum("rin,rjn,rn->rij", ranks, ranks, counts, optimize=True), hermitian=True
    )
    found: FloatArray = -inverse[:, 0, 1] / np.sqrt(inverse[:, 0, 0] * inverse[:, 1, 1])
    return found


def _ranks(column: FloatArray, counts: FloatArray) -> FloatArray:
    """(R, n) ranks of a column in each resample; ties share theirs."""
    _, tie = np.unique(column, return_inverse=True)
    order = np.argsort(tie, kind="stable")
    starts = np.flatnonzero(np.diff(tie[order], prepend=-1))
    tied = np.add.reduceat(counts[:, order], starts, axis=1)
    below = np.cumsum(tied, axis=1) - tied
    ranks: FloatArray = (below + (tied + 1) / 2)[:, tie]
    return ranks
