"""Two arms on the same questions: accuracy with its interval, and the paired difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from revlm.statistics.bootstrap import RESAMPLES
from revlm.statistics.effect import Effect

BoolArray = npt.NDArray[np.bool_]


def proportion(correct: BoolArray) -> Effect:
    """Share of right answers, with Wilson's score interval.

    It keeps its coverage near 0 and 1 and for few questions, where a mean plus or minus two standard
    errors does not.

    Args:
        correct: (n,) n >= 1.

    Source: Wilson 1927, JASA 22:209.
    """
    found = binomtest(int(correct.sum()), len(correct))
    interval = found.proportion_ci(method="wilson")
    return Effect(float(correct.mean()), float(interval.low), float(interval.high), len(correct))


def paired_difference(
    first: BoolArray, second: BoolArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Effect:
    """Difference of two accuracies on the same questions: the first less the second.

    The interval is the percentile bootstrap over questions. A resample of questions depends only on
    how many of them one arm alone got right, so it is drawn as a multinomial: the same distribution.

    Args:
        first: (n,) right answers of one arm, n >= 1.
        second: (n,) of the other, same questions in the same order.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Source: paired bootstrap, Koehn 2004 (W04-3250); exact McNemar test, McNemar 1947.
    """
    n = len(first)
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    shares = np.array([wins, losses, n - wins - losses]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])
    # Under the null each question that only one arm got right is a fair coin.
    p = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    return Effect((wins - losses) / n, float(low), float(high), n, p=float(p))
