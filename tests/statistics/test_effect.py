"""Effects, their intervals over seeds, and how they are written."""

import math

import numpy as np
import pytest
from scipy import stats

from revlm.statistics.effect import Effect, seed_mean


def test_interval_over_seeds_is_the_t_interval():
    """Mean and interval over seeds are those of scipy's one-sample t-test."""
    values = [4.31, 4.28, 4.36, 4.30, 4.33]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = seed_mean(dict(enumerate(values)))
    assert (found.value, found.low, found.high, found.n) == pytest.approx(
        (np.mean(values), expected.low, expected.high, 5)
    )


def test_interval_of_three_seeds_by_hand():
    """Seeds 1, 2 and 3 give 2 and half a width of 4.3027 / sqrt(3)."""
    found = seed_mean(dict(enumerate([1.0, 2.0, 3.0])))
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)


def test_interval_covers_the_mean_as_often_as_it_says():
    """Over many sweeps of four seeds, 93 to 97% of the intervals hold the true mean."""
    draws = np.random.default_rng(0).normal(4.3, 0.02, (2000, 4))
    found = [seed_mean(dict(enumerate(row))) for row in draws]
    assert 0.93 <= np.mean([e.low <= 4.3 <= e.high for e in found]) <= 0.97


@pytest.mark.parametrize(
    ("effect", "cell", "sentence", "none"),
    [
        (Effect(0.5), "+0.500 (no interval, n=0)", "+0.500 (n=0)", "+0.500"),
        (Effect(0.5, 0.4, 0.6, 1200), "+0.500 [+0.400, +0.600] (n=1,200)", "+0.500 [+0.400, +0.600] (n=1,200)", "+0.500 [+0.400, +0.600]"),
        (
            Effect(0.5, 0.4, 0.6, 9, {0: 0.3, 3: 0.7}),
            "+0.500 [+0.400, +0.600] (n=9, s=2: +0.300 to +0.700)",
            "+0.500 [+0.400, +0.600] (n=9, 2 seeds from +0.300 to +0.700)",
            "+0.500 [+0.400, +0.600]",
        ),
        (Effect(0.5, 0.4, 0.6, 9, {0: 0.5}), "+0.500 [+0.400, +0.600] (n=9, s=1)", "+0.500 [+0.400, +0.600] (n=9, 1 seed)", "+0.500 [+0.400, +0.600]"),
        (Effect(math.nan, n=3), "not defined (n=3)", "not defined (n=3)", "not defined (n=3)"),
    ],
)  # fmt: skip
def test_an_effect_says_what_it_rests_on(effect, cell, sentence, none):
    """A number never stands without its interval, or the word that it has none; seeds show their range."""
    assert [effect.text(counts=counts) for counts in ("cell", "sentence", "none")] == [cell, sentence, none]


@pytest.mark.parametrize(
    ("seeds", "p", "side"),
    [
        ({0: 0.1, 1: 0.11, 2: 0.12}, 0.01, 1),
        ({0: -0.1, 1: -0.11, 2: -0.12}, 0.01, -1),
        ({0: 0.1, 1: 0.11}, 0.01, 0),
        ({0: 0.1, 1: 0.5, 2: -0.4}, 0.01, 0),
        ({0: 0.1, 1: 0.11, 2: 0.12}, 0.2, 0),
    ],
)
def test_a_side_needs_documents_and_three_seeds(seeds, p, side):
    """Neither a small p alone nor seeds alone say on which side of the null an effect lies."""
    value = float(np.mean(list(seeds.values())))
    assert Effect(value, value - 0.01, value + 0.01, 100, seeds, p).side() == side


@pytest.mark.parametrize(
    ("low", "high", "null", "apart"),
    [(0.1, 0.2, 0.0, 1), (-0.2, -0.1, 0.0, -1), (-0.1, 0.1, 0.0, 0), (0.0, 0.2, 0.0, 0), (0.1, 0.2, 0.5, -1), (None, None, 0.0, 0)],
    ids=["above", "below", "around", "touching", "below another null", "no interval"],
)  # fmt: skip
def test_an_interval_lies_apart_from_the_null_or_not(low, high, null, apart):
    """The whole interval on one side; where there is none nothing is said."""
    assert Effect(0.15, low, high, 9, null=null).apart == apart


def test_an_interval_is_cut_to_what_is_possible():
    """A chance is no less than 0 and no more than 1, whatever resampling and widening give."""
    cut = Effect(0.9, -0.1, 1.2, 9, {0: 0.9}, 0.2, 0.5).bounded(0, 1)
    assert cut == Effect(0.9, 0, 1, 9, {0: 0.9}, 0.2, 0.5)
    assert Effect(0.9, n=1).bounded(0, 1) == Effect(0.9, n=1)


def test_seeds_hold_against_the_effects_own_null():
    """Chances around 0.6 lie above a coin toss and below 0.7, not merely above 0."""
    seeds = {0: 0.59, 1: 0.6, 2: 0.61}
    assert Effect(0.6, 0.55, 0.65, 9, seeds, 0.01, null=0.5).side() == 1
    assert Effect(0.6, 0.55, 0.65, 9, seeds, 0.01, null=0.7).side() == -1
    assert Effect(0.6, 0.55, 0.65, 9, seeds, 0.01, null=0.605).side() == 0
