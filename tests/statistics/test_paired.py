"""Accuracy intervals and paired differences: against plain resampling, exact tests and simulation."""

import numpy as np
import pytest

from revlm.statistics.paired import paired_difference, proportion


def test_the_interval_is_that_of_resampled_questions():
    """Drawing counts is drawing questions: a plain bootstrap over the questions gives the same interval."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 300)) < np.array([[0.5], [0.4]])
    rows = rng.integers(0, 300, (20_000, 300))
    differences = first[rows].mean(1) - second[rows].mean(1)
    found = paired_difference(first, second, resamples=20_000)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.005)


def test_equal_answers_differ_by_nothing():
    """An arm set beside itself has no difference, no width and no evidence."""
    same = np.array([True, False, True])
    found = paired_difference(same, same)
    assert (found.value, found.low, found.high, found.p, found.n) == (0.0, 0.0, 0.0, 1.0, 3)


def test_mcnemar_is_a_fair_coin_on_what_only_one_arm_got_right():
    """Eight of nine such questions to one side: p = 2 (1 + 9) / 2^9, whatever both got right or wrong."""
    first = np.array([True] * 8 + [False] + [True] * 20 + [False] * 30)
    second = np.array([False] * 8 + [True] + [True] * 20 + [False] * 30)
    assert paired_difference(first, second).p == pytest.approx(2 * 10 / 512)


def test_paired_intervals_cover_the_truth():
    """In simulations with correlated arms the 95% interval holds the true difference 92 to 98 times in 100."""
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(1000):
        easy = rng.random(200)
        first, second = easy + 0.3 * rng.random(200) < 0.6, easy + 0.3 * rng.random(200) < 0.55
        found = paired_difference(first, second, resamples=500, seed=trial)
        held += found.low <= 0.05 <= found.high
    assert 920 <= held <= 980


def test_wilson_intervals_stay_between_0_and_1_and_cover():
    """None right of ten is not a certain 0, and coverage over many draws is near 95%."""
    none = proportion(np.zeros(10, dtype=bool))
    assert none.low == 0
    assert none.high == pytest.approx(0.2775, abs=1e-3)
    rng = np.random.default_rng(2)
    covered = [
        found.low <= 0.25 <= found.high for found in (proportion(rng.random(200) < 0.25) for _ in range(2000))
    ]
    assert 0.93 <= np.mean(covered) <= 0.97
