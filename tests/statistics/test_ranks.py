"""Rank correlations of copies: what is drawn together stays together."""

import numpy as np
import pytest

from revlm.statistics.correlations import partial_correlation
from revlm.statistics.ranks import partial_rank_effect


def copies(rng, documents=60, levels=4):
    """A measure and a quality, both mostly the document's own, over some copies of each."""
    own = rng.normal(size=(documents, 1))
    x = own + 0.3 * rng.normal(size=(documents, levels))
    y = rng.normal(size=(documents, 1)) + 0.3 * rng.normal(size=(documents, levels))
    return x.ravel(), y.ravel(), np.repeat(np.arange(documents), levels)


def test_the_value_is_the_partial_correlation():
    """Resampling gives the interval; the number stays what it was."""
    rng = np.random.default_rng(0)
    x, y, control = rng.normal(size=(3, 200))
    found = partial_rank_effect(x, y + x, [control], resamples=200)
    assert found.value == partial_correlation(x, y + x, [control]).value
    assert found.low < found.value < found.high
    assert found.n == 200


def test_each_resample_is_a_partial_correlation_of_its_rows():
    """Counting a row twice is the same as having it twice, ranks, ties and controls included."""
    from revlm.statistics.ranks import _correlations, _order

    rng = np.random.default_rng(1)
    columns = np.stack([rng.normal(size=40), rng.integers(0, 3, size=40), rng.normal(size=40)]).astype(float)
    counts = rng.integers(0, 3, size=(5, 40)).astype(float)
    resampled = _correlations([_order(column) for column in columns], counts)
    for row, got in zip(counts.astype(int), resampled, strict=True):
        x, y, control = np.repeat(columns, row, axis=1)
        assert got == pytest.approx(partial_correlation(x, y, [control]).value, abs=1e-9)


def test_intervals_of_copies_cover():
    """Over documents with copies, 95% intervals hold the truth; counting copies as documents they do not."""
    rng = np.random.default_rng(2)
    held, naive = 0, 0
    for seed in range(200):
        x, y, document = copies(rng)
        together = partial_rank_effect(x, y, clusters=document, resamples=400, seed=seed)
        apart = partial_rank_effect(x, y, resamples=400, seed=seed)
        held += together.low <= 0 <= together.high
        naive += apart.low <= 0 <= apart.high
    assert 0.91 <= held / 200 <= 0.985
    assert naive / 200 < 0.8


def test_a_constant_control_changes_nothing_and_a_constant_column_has_no_correlation():
    """Neither makes a number up."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 50))
    plain = partial_rank_effect(x, y, resamples=100)
    assert partial_rank_effect(x, y, [np.ones(50)], resamples=100) == plain
    nothing = partial_rank_effect(x, np.ones(50), resamples=100)
    assert np.isnan(nothing.value)
    assert nothing.low is None
