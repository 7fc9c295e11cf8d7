"""Effects with intervals by resampling documents, and p-values corrected for their number.

Every interval here speaks of other documents of the same kind, read by the same trained models: rows
of one document are resampled together, whatever seed or copy they come from. What other seeds would
change is another question; it is answered beside, by showing the effect of each seed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from revlm.statistics.effect import LEVEL, Effect, FloatArray

RESAMPLES = 10_000
# Several samples are drawn in turns of so many cells, so what is drawn follows from it.
TURN_CELLS = 1 << 22
# Tables (resamples, clusters) are made and read in pieces of so many cells, which a core's cache holds.
PIECE_CELLS = 1 << 16
# Draws of up to so many cells, a byte each, are kept for the next effect over as many clusters.
KEPT_CELLS = 1 << 27
AUC_NULL = 0.5
Counts = npt.NDArray[np.unsignedinteger]
IntArray = npt.NDArray[np.int64]


def mean_effect(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    weights: npt.ArrayLike | None = None,
    null: float = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Effect:
    """Mean of values, with the bootstrap interval over clusters of them.

    Paired comparisons are means of differences, taken before they come here.

    Args:
        values: (n,) numbers; those that are none are left out with their rows.
        clusters: (n,) what is resampled together, such as a document's id; None: each row by itself.
        weights: (n,) such as tokens; None: each row counts alike.
        null: the mean when there is no effect.
        resamples: of clusters.
        seed: of the resamples.

    Source: Davison & Hinkley 1997, Bootstrap Methods, 2.4 and 3.8; clusters as Cameron, Gelbach & Miller 2008.
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    kept = np.isfinite(values) & np.isfinite(weights)
    if not kept.any():
        return Effect(math.nan, null=null)
    codes = clusters_of(clusters, kept)
    sums: FloatArray = np.stack(
        [np.bincount(codes, weights=values[kept] * weights[kept]), np.bincount(codes, weights=weights[kept])],
        axis=1,
    )
    return ratio_effect(sums, null=null, resamples=resamples, seed=seed)


def ratio_effect(sums: FloatArray, *, null: float = 0.0, resamples: int = RESAMPLES, seed: int = 0) -> Effect:
    """Ratio of two sums over clusters.

    Args:
        sums: (n, 2) numerator and denominator of each cluster.
        null: the ratio when there is no effect.
        resamples: of clusters.
        seed: of the resamples.
    """
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    drawn = np.concatenate([counts @ sums for (counts,) in resampled((len(sums),), resamples, seed)])
    return interval(value, drawn[:, 0] / drawn[:, 1], len(sums), null)


def auc_effect(
    positive: npt.ArrayLike, negative: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Effect:
    """Chance that a positive's value exceeds a negative's, ties counting half: the area under the ROC curve.

    Args:
        positive: (p,) values of documents of one label, p >= 2; or (p, s) by s models, whose areas are averaged.
        negative: (q,) or (q, s) of the other, q >= 2.
        resamples: of positives and of negatives, apart.
        seed: of the resamples.

    Returns:
        The area; its null is 0.5.

    Source: Hanley & McNeil 1982; resampling within classes, Efron & Tibshirani 1993, ch. 16.
    """
    positive, negative = (np.asarray(side, dtype=np.float64) for side in (positive, negative))
    positive, negative = (side.reshape(len(side), -1) for side in (positive, negative))
    positive, negative = (side[np.isfinite(side).all(axis=1)] for side in (positive, negative))
    n = len(positive) + len(negative)
    if not len(positive) or not len(negative):
        return Effect(math.nan, n=n, null=AUC_NULL)
    orders = [_order(one, other) for one, other in zip(positive.T, negative.T, strict=True)]
    drawn = resampled((len(positive), len(negative)), resamples, seed)
    areas = np.concatenate([_areas(orders, *counts) for counts in drawn])
    (value,) = _areas(orders, *(np.ones((1, len(side))) for side in (positive, negative)))
    # Each side spreads by its own number; the smaller one decides.
    degrees = min(len(positive), len(negative)) - 1
    return interval(float(value), areas, n, AUC_NULL, degrees=degrees).bounded(0, 1)


def _order(positive: FloatArray, negative: FloatArray) -> tuple[sparse.csr_array, IntArray]:
    """How values of (p,) positives lie among those of (q,) negatives.

    Returns:
        (q + 1, p) half of each positive at the number of negatives below it, half at the number below or equal; and
        the rising order of the negatives.
    """
    rising = np.argsort(negative, kind="stable")
    places = [np.searchsorted(negative[rising], positive, side) for side in ("left", "right")]
    columns = np.tile(np.arange(len(positive)), 2)
    halves = (np.full(len(columns), 0.5), (np.concatenate(places), columns))
    return sparse.csr_array(halves, shape=(len(negative) + 1, len(positive))), rising


def _areas(
    orders: Sequence[tuple[sparse.csr_array, IntArray]], positive: FloatArray, negative: FloatArray
) -> FloatArray:
    """(r,) areas, means over models, of documents that count (r, p) and (r, q) times."""
    positive, negative = np.ascontiguousarray(positive.T), np.ascontiguousarray(negative.T)
    won = np.zeros(positive.shape[1])
    for places, rising in orders:
        below = np.cumsum(negative[rising], axis=0)
        # Below the first negative lies none.
        won += ((places @ positive)[1:] * below).sum(axis=0)
    return won / (len(orders) * len(positive) * len(negative))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the order given: any of them below 0.05 holds for the family.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65.
    """
    order = np.argsort(p_values)
    raised = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raised)) if len(p_values) else raised
    return [float(p) for p in corrected]


def clusters_of(names: npt.ArrayLike | None, kept: npt.NDArray[np.bool_]) -> IntArray:
    """Number of each kept row's cluster, from 0 on; None: each row is one."""
    if names is None:
        return np.arange(int(kept.sum()))
    codes: IntArray = np.unique(np.asarray(names)[kept], return_inverse=True)[1].reshape(-1)
    return codes


def chunks(resamples: int, width: int, cells: int) -> list[int]:
    """How many resamples to take at a time, for tables (resamples, width) of so many cells."""
    step = max(1, cells // width)
    return [min(step, resamples - at) for at in range(0, resamples, step)]


def resampled(
    sizes: tuple[int, ...], resamples: int, seed: int, *, width: int | None = None
) -> Iterator[tuple[FloatArray, ...]]:
    """How often each cluster is drawn, some resamples at a time.

    The draws depend only on sizes, resamples and seed. Many effects rest on the same documents, so the last draws are kept.

    Args:
        sizes: number of clusters of each sample; samples are drawn apart.
        resamples: of each.
        seed: of the draws.
        width: cells that a resample takes where it is used; None: those of the draws.

    Yields:
        (r, size) for each size; all r together are the resamples.
    """
    kept = resamples * sum(sizes) <= KEPT_CELLS
    for turn in _kept_turns(sizes, resamples, seed) if kept else _turns(sizes, resamples, seed):
        at = 0
        for some in chunks(len(turn[0]), width or sum(sizes), PIECE_CELLS):
            yield tuple(counts[at : at + some].astype(np.float64) for counts in turn)
            at += some


def _turns(sizes: tuple[int, ...], resamples: int, seed: int) -> Iterator[tuple[Counts, ...]]:
    rng = np.random.default_rng(seed)
    for some in chunks(resamples, sum(sizes), TURN_CELLS):
        yield tuple(_counts(rng, size, some) for size in sizes)


@functools.lru_cache(maxsize=2)
def _kept_turns(sizes: tuple[int, ...], resamples: int, seed: int) -> list[tuple[Counts, ...]]:
    return list(_turns(sizes, resamples, seed))


def _counts(rng: np.random.Generator, size: int, resamples: int) -> Counts:
    """(resamples, size) how often each cluster is drawn, in as few bytes as hold it."""
    pieces = []
    for some in chunks(resamples, size, PIECE_CELLS):
        drawn = rng.integers(size, size=(some, size))
        drawn += size * np.arange(some)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=size * some).reshape(some, size)
        pieces.append(counts.astype(np.min_scalar_type(int(counts.max()))))
    return np.concatenate(pieces)


def interval(value: float, drawn: FloatArray, n: int, null: float, *, degrees: int | None = None) -> Effect:
    """An effect with its interval out of resampled values.

    Args:
        value: of the sample.
        drawn: (resamples,) values.
        n: clusters.
        null: the value when there is no effect.
        degrees: of freedom; None: n - 1.
    """
    degrees = n - 1 if degrees is None else degrees
    if degrees < 1:
        return Effect(value, n=n, null=null)
    # A resample of n spreads by a factor sqrt((n - 1) / n) too little, and knows nothing of how badly few
    # clusters tell their spread: Student's t over the normal quantile does.
    tails = (1 + LEVEL) / 2
    widened = math.sqrt((degrees + 1) / degrees) * float(stats.t.ppf(tails, degrees) / stats.norm.ppf(tails))
    drawn = value + (drawn - value) * widened
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    beyond = min(int((drawn <= null).sum()), int((drawn >= null).sum()))
    p = min(1.0, 2 * (beyond + 1) / (len(drawn) + 1))
    return Effect(value, float(low), float(high), n, p=p, null=null)
