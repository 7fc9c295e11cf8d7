"""Effects with intervals by resampling documents, and p-values corrected for their number.

Every interval here speaks of other documents of the same kind, read by the same trained models: rows
of one document are resampled together, whatever seed or copy they come from. What other seeds would
change is another question; it is answered beside, by showing the effect of each seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from revlm.statistics.effect import LEVEL, Effect, FloatArray

RESAMPLES = 10_000
# Resampled sums are products (resamples, clusters) @ (clusters, k), so many cells at a time.
CHUNK_CELLS = 1 << 22
AUC_NULL = 0.5


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
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [cluster_counts(rng, len(sums), size) @ sums for size in chunks(resamples, len(sums))]
    )
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
    wins = np.mean(
        [
            (one[:, None] > other) + 0.5 * (one[:, None] == other)
            for one, other in zip(positive.T, negative.T, strict=True)
        ],
        axis=0,
    )
    rng = np.random.default_rng(seed)
    drawn = []
    for size in chunks(resamples, n):
        counts = cluster_counts(rng, len(positive), size) @ wins
        drawn.append((counts * cluster_counts(rng, len(negative), size)).sum(axis=1) / wins.size)
    # Each side spreads by its own number; the smaller one decides.
    degrees = min(wins.shape) - 1
    return interval(float(wins.mean()), np.concatenate(drawn), n, AUC_NULL, degrees=degrees).bounded(0, 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the order given: any of them below 0.05 holds for the family.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65.
    """
    order = np.argsort(p_values)
    raised = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raised)) if len(p_values) else raised
    return [float(p) for p in corrected]


def clusters_of(names: npt.ArrayLike | None, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Number of each kept row's cluster, from 0 on; None: each row is one."""
    if names is None:
        return np.arange(int(kept.sum()))
    codes: npt.NDArray[np.int64] = np.unique(np.asarray(names)[kept], return_inverse=True)[1].reshape(-1)
    return codes


def chunks(resamples: int, width: int) -> list[int]:
    """How many resamples to draw at a time, for tables (resamples, width) that fit into memory."""
    step = max(1, CHUNK_CELLS // width)
    return [min(step, resamples - at) for at in range(0, resamples, step)]


def cluster_counts(rng: np.random.Generator, size: int, resamples: int) -> FloatArray:
    """(resamples, size) how often each cluster is drawn."""
    drawn = rng.integers(size, size=(resamples, size))
    drawn += size * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.reshape(-1), minlength=size * resamples)
    return counts.reshape(resamples, size).astype(np.float64)


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
