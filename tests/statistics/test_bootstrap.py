"""The statistics are measured themselves: false alarms, coverage and power of intervals."""

import numpy as np
import pytest
from scipy import stats

from revlm.statistics import bootstrap
from revlm.statistics.bootstrap import auc_effect, holm, mean_effect, resampled

TRIALS, DOCUMENTS, COPIES = 1000, 60, 3


def simulate(effect, seed):
    """Skewed differences of documents, three seeds each that agree about a document."""
    rng = np.random.default_rng(seed)
    of_document = rng.standard_t(5, DOCUMENTS)[:, None] + 0.5 * rng.normal(size=(DOCUMENTS, COPIES))
    return effect + of_document.reshape(-1), np.repeat(np.arange(DOCUMENTS), COPIES)


@pytest.fixture(scope="module")
def null_trials():
    """Effects of samples without an effect."""
    return [mean_effect(*simulate(0.0, seed), resamples=1000, seed=seed) for seed in range(TRIALS)]


def test_no_effect_is_found_in_one_of_twenty_samples(null_trials):
    """Rejects 5%, give or take 1.5, where nothing is to be found."""
    assert np.mean([effect.p < 0.05 for effect in null_trials]) == pytest.approx(0.05, abs=0.015)


def test_intervals_hold_the_truth(null_trials):
    """Of the 95% intervals, 93 to 97% hold the true mean."""
    assert 0.93 <= np.mean([effect.low <= 0 <= effect.high for effect in null_trials]) <= 0.97


@pytest.mark.parametrize("documents", [5, 10, 15])
def test_few_documents_promise_no_more_than_they_hold(documents):
    """No effect is found in about one of twenty samples, however small they are."""
    rng = np.random.default_rng(documents)
    found = [
        mean_effect(rng.normal(size=documents), resamples=1000, seed=seed).p < 0.05 for seed in range(TRIALS)
    ]
    assert np.mean(found) == pytest.approx(0.05, abs=0.02)


def test_a_planted_effect_is_found():
    """Half a standard deviation, in sixty documents: power of 80% or more."""
    found = [mean_effect(*simulate(0.5, seed), resamples=1000, seed=seed).p < 0.05 for seed in range(300)]
    assert np.mean(found) >= 0.8


def test_copies_of_documents_are_no_new_evidence():
    """Taken for independent, three seeds of each document would promise too narrow an interval."""
    values, documents = simulate(0.0, 1)
    wide, narrow = mean_effect(values, documents), mean_effect(values)
    assert wide.high - wide.low > 1.4 * (narrow.high - narrow.low)
    assert (wide.n, narrow.n) == (DOCUMENTS, DOCUMENTS * COPIES)


def test_the_mean_has_the_interval_of_the_t_test_where_that_is_right():
    """For many normal values the bootstrap and the t-interval agree."""
    values = np.random.default_rng(0).normal(0.3, 1, 2000)
    found = mean_effect(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.004)


def test_weights_count_tokens():
    """A document of three tokens counts as three of one."""
    found = mean_effect([1.0, 5.0], weights=[3, 1])
    assert found.value == 2.0


def test_a_cluster_has_no_interval_and_no_value_no_mean():
    """What cannot be said is not said."""
    assert mean_effect([1.0, 2.0], ["a", "a"]).low is None
    assert mean_effect([np.nan]).n == 0


def test_auc_is_the_one_of_mann_whitney():
    """With ties, on labels of unequal size."""
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 9, 40), rng.integers(0, 7, 70)
    expected = stats.mannwhitneyu(positive, negative).statistic / (40 * 70)
    found = auc_effect(positive, negative, resamples=2000)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high


def test_kept_draws_are_those_of_one_generator(monkeypatch):
    """Kept or drawn anew, in pieces of any size: each row draws as many as there are, one row after another."""
    rng = np.random.default_rng(5)
    plain = np.stack([np.bincount(rng.integers(300, size=300), minlength=300) for _ in range(50)])
    for kept, cells in ((1 << 27, 1 << 16), (0, 1 << 16), (0, 700)):
        monkeypatch.setattr(bootstrap, "KEPT_CELLS", kept)
        monkeypatch.setattr(bootstrap, "PIECE_CELLS", cells)
        for _ in range(2):
            drawn = np.concatenate([counts for (counts,) in resampled((300,), 50, 5)])
            assert np.array_equal(drawn, plain)


def test_an_effect_knows_what_it_was_tested_against():
    """Sides and intervals are read against the null of the test, with an interval or without."""
    wins = np.random.default_rng(3).random(200) < 0.9
    assert (
        mean_effect(wins, null=0.5).null
        == mean_effect([1.0], null=0.5).null
        == mean_effect([], null=0.5).null
        == 0.5
    )
    assert auc_effect([1.0, 2.0, 3.0], [0.0, 1.0]).null == auc_effect([np.nan], [1.0]).null == 0.5
    assert mean_effect(wins).null == 0.0


def test_shares_stay_between_0_and_1():
    """Where almost all is won, the interval ends at 1."""
    found = auc_effect(np.arange(10.0, 20), np.arange(0.0, 11))
    assert 0 <= found.low < found.value <= found.high == 1


def test_auc_intervals_hold_the_truth():
    """Of the 95% intervals, 93 to 97% hold the true area; no difference is found in 5%, give or take 1.5."""
    rng = np.random.default_rng(3)
    found = [
        auc_effect(rng.normal(size=60), rng.normal(size=80), resamples=500, seed=seed)
        for seed in range(TRIALS)
    ]
    assert 0.93 <= np.mean([effect.low <= 0.5 <= effect.high for effect in found]) <= 0.97
    assert np.mean([effect.p < 0.05 for effect in found]) == pytest.approx(0.05, abs=0.015)


def test_holm_is_the_published_step_down():
    """Smallest times m, next times m - 1, never falling, at most 1; in the order given."""
    assert holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
