"""Two curves of loss by position: means, smoothing, and where reverse comes to stay below forward.

Position i counts the body tokens already read, so both curves begin with nothing known. At one
position they speak of different tokens: forward of text position i, reverse of n - 1 - i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from revlm.config import CurvesConfig

FloatArray = npt.NDArray[np.float64]
# Which windows a curve is over: all, or those that begin their document; others have no true beginning.
ALL, FIRST = "all", "first"


def domain_label(domain: str) -> str:
    """What tables over domains call one: a domain named all would be taken for the whole corpus."""
    return f"{ALL} (domain)" if domain == ALL else domain


@dataclass(frozen=True)
class Curves:
    """Mean losses by direction (0 forward, 1 reverse) and position.

    Attributes:
        nll: (2, P) float64 nats, nan where nothing was counted.
        count: (2, P) tokens behind each mean.
        resampled_nll, resampled_count: (2, R, P), the same over R resamples of the documents.
    """

    nll: FloatArray
    count: FloatArray
    resampled_nll: FloatArray
    resampled_count: FloatArray

    def mean(self) -> FloatArray:
        """(2,) nats per token over all positions."""
        total = np.where(self.count > 0, self.nll * self.count, 0.0).sum(axis=1)
        return np.asarray(total / self.count.sum(axis=1))

    def interval(self, level: float = 0.95) -> FloatArray:
        """(2, 2, P): low and high of each curve; nan where nothing was counted."""
        filled = np.where(np.isnan(self.resampled_nll), np.inf, self.resampled_nll)
        bounds = np.stack(percentiles(filled.swapaxes(0, 1), level))
        return np.where(self.count[None] == 0, np.nan, bounds)


def percentiles(resamples: FloatArray, level: float = 0.95) -> tuple[Any, Any]:
    """Bounds of an interval from R resamples along the first axis, R >= 1.

    Order statistics (R + 1) * p rather than interpolation: infinite resamples stay infinite, and
    an interval from few resamples is not too short.
    """
    ordered, size = np.sort(resamples, axis=0), len(resamples)
    low = math.floor((size + 1) * (1 - level) / 2 + 1e-9) - 1
    high = math.ceil((size + 1) * (1 + level) / 2 - 1e-9) - 1
    return ordered[max(low, 0)], ordered[min(high, size - 1)]


def smooth(values: FloatArray, width: int, weights: FloatArray | None = None) -> FloatArray:
    """Centred moving average, over what there is near the ends.

    Args:
        values: (..., P); nan counts as absent.
        width: positions in the average, odd.
        weights: (..., P), such as counts; None: equal.

    Returns:
        (..., P), nan where nothing lies within the width.
    """
    weights = np.ones_like(values) if weights is None else weights
    weights = np.where(np.isnan(values), 0.0, weights)
    half, size = width // 2, values.shape[-1]
    low = np.maximum(np.arange(size) - half, 0)
    high = np.minimum(np.arange(size) + half + 1, size)

    def window_sum(array: FloatArray) -> FloatArray:
        total = _sums_before(array)
        return total[..., high] - total[..., low]

    with np.errstate(invalid="ignore", divide="ignore"):
        return window_sum(np.where(np.isnan(values), 0.0, values) * weights) / window_sum(weights)


def first_hold(below: npt.NDArray[np.bool_], hold: int) -> npt.NDArray[np.int64]:
    """(...,) first position from which `below` is true `hold` times in a row; -1: never.

    Args:
        below: (..., P).
        hold: positions; all of them where there are fewer.
    """
    hold = min(hold, below.shape[-1])
    if not hold:
        return np.full(below.shape[:-1], -1)
    total = _sums_before(below)
    holds: npt.NDArray[np.bool_] = total[..., hold:] - total[..., :-hold] == hold
    return np.where(holds.any(-1), holds.argmax(-1), -1)


def _sums_before(values: FloatArray | npt.NDArray[np.bool_]) -> FloatArray:
    """(..., P + 1) of (..., P): the sum of what stands before each position, and of all."""
    total = np.cumsum(values, axis=-1, dtype=np.float64)
    return np.concatenate((np.zeros_like(total[..., :1]), total), axis=-1)


def crossing(forward: FloatArray, reverse: FloatArray, *, hold: int) -> npt.NDArray[np.int64]:
    """Where reverse comes to stay at or below forward: (...,) positions, -1 for never.

    Args:
        forward: (..., P) smoothed curve; positions from the first nan on are ignored.
        reverse: the same.
        hold: positions for which it must stay so; a tie counts as below.
    """
    below = reverse <= forward
    known = ~(np.isnan(forward) | np.isnan(reverse))
    size = int(known.all(axis=tuple(range(known.ndim - 1))).cumprod().sum())
    return first_hold(below[..., :size], hold)


def rule_text(smoothing: Any, hold: Any) -> str:
    """The rule of `crossing` in words: "the first position from which the reverse curve, ... for 8"."""
    return (
        f"the first position from which the reverse curve, smoothed over {smoothing} positions, "
        f"is at or below the forward curve for {hold}"
    )


def intersection(curves: Curves, rule: CurvesConfig, num_documents: int) -> dict[str, Any]:
    """The crossing, its 95% interval over resampled documents, and how often there is none.

    A resample without a crossing counts as later than all positions; a bound that falls among
    those is null, as is the position when the curves never cross.

    Args:
        curves: of the evaluated set.
        rule: smoothing and hold.
        num_documents: resampled, for the record.

    Returns:
        position, low, high, share_never, and the rule they come from.
    """
    used = int((curves.count > 0).all(axis=0).cumprod().sum())
    smoothed = smooth(curves.nll, rule.smoothing, curves.count)[:, :used]
    position = int(crossing(smoothed[0], smoothed[1], hold=rule.hold))
    resampled = smooth(curves.resampled_nll, rule.smoothing, curves.resampled_count)[..., :used]
    below = resampled[1] <= resampled[0]
    positions = first_hold(below, rule.hold).astype(np.float64)
    positions[positions < 0] = np.inf
    low, high = percentiles(positions) if len(positions) else (np.inf, np.inf)
    return {
        "position": position if position >= 0 else None,
        "low": int(low) if np.isfinite(low) else None,
        "high": int(high) if np.isfinite(high) else None,
        "share_never": float(np.isinf(positions).mean()) if len(positions) else None,
        "rule": rule_text(rule.smoothing, rule.hold),
        "smoothing": rule.smoothing,
        "hold": rule.hold,
        "resamples": len(positions),
        "num_documents": num_documents,
        "window": curves.nll.shape[1],
    }
