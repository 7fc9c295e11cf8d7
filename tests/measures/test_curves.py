"""Curves by position, their crossing and its interval."""

import numpy as np
import pytest
import torch
from scipy import stats

from revlm.config import CurvesConfig
from revlm.direction import Direction, reading_order
from revlm.measures.crossing import Curves, crossing, first_hold, intersection, smooth
from revlm.measures.curves import PositionCurve, poisson_weights

RULE = CurvesConfig(smoothing=1, hold=3, resamples=200)


def curve_of(samples, resamples=200):
    """A metric fed with (direction number, doc, losses by position)."""
    metric = PositionCurve(max(len(losses) for _, _, losses in samples), resamples, seed=0)
    for direction, doc, losses in samples:
        nll = torch.tensor(losses, dtype=torch.float32)
        metric.update(nll, torch.arange(len(losses)), torch.full((len(losses),), doc), direction)
    return metric


def test_with_loss_equal_to_text_position_the_reverse_curve_is_mirrored():
    """If a token's loss is its text position, forward is i and reverse n - 1 - i."""
    n = 12
    samples = [(d.number, 0, reading_order(n, d).astype(float)) for d in Direction]
    curves = curve_of(samples).curves()
    assert curves.nll[0].tolist() == list(range(n))
    assert curves.nll[1].tolist() == list(range(n))[::-1]


@pytest.mark.parametrize("planted", [0, 1, 7, 29])
def test_planted_crossings_come_back_exactly(planted):
    """Reverse comes down through forward at a known position."""
    position = np.arange(40, dtype=float)
    forward, reverse = np.full(40, 5.0), 5.0 + (planted - position) / 10
    assert crossing(smooth(forward, 1), smooth(reverse, 1), hold=5) == planted


def test_smoothing_leaves_a_straight_crossing_where_it_is():
    """A centred average of straight lines is the lines, away from the ends."""
    position = np.arange(60, dtype=float)
    forward, reverse = np.full(60, 5.0), 5.0 + (30 - position) / 10
    assert crossing(smooth(forward, 9), smooth(reverse, 9), hold=5) == 30


@pytest.mark.parametrize(
    ("below", "hold", "expected"),
    [
        ([0, 1, 0, 1, 1, 1, 0], 3, 3),
        ([1, 1, 1, 0], 3, 0),
        ([0, 0, 1, 1], 3, -1),
        ([0, 0, 0], 1, -1),
        ([1], 8, 0),
        ([0], 8, -1),
        ([], 8, -1),
        ([1, 1, 0, 1, 1], 2, 0),
    ],
)
def test_first_hold(below, hold, expected):
    """Ties, none, several, and curves shorter than the hold are defined."""
    assert first_hold(np.array(below, dtype=bool), hold) == expected


def test_a_tie_counts_as_crossed():
    """Curves that coincide are crossed from the start."""
    same = np.linspace(5, 4, 20)
    assert crossing(same, same, hold=8) == 0


def test_curves_that_never_cross_give_null_not_a_number():
    """Never is null, with all resamples censored."""
    samples = [(d, doc, [4.0 + d] * 20) for d in (0, 1) for doc in range(30)]
    found = intersection(curve_of(samples).curves(), RULE, 30)
    assert (found["position"], found["low"], found["high"], found["share_never"]) == (None, None, None, 1.0)


def test_a_crossing_that_some_resamples_lack_has_an_open_interval():
    """The upper bound is null when more than 2.5 per cent of the resamples never cross."""
    rng = np.random.default_rng(0)
    samples = []
    for doc in range(12):
        shift = rng.normal(0, 2)
        samples += [(0, doc, [5.0] * 30), (1, doc, (5.2 + shift - np.arange(30) / 60).tolist())]
    found = intersection(curve_of(samples).curves(), RULE, 12)
    assert 0.025 < found["share_never"] < 1
    assert found["high"] is None


def test_ranks_add_up():
    """Merging the sums of two halves equals one metric over all, bootstrap included."""
    rng = np.random.default_rng(1)
    samples = [(d, doc, rng.normal(5, 1, 16).tolist()) for d in (0, 1) for doc in range(10)]
    whole, left, right = curve_of(samples), curve_of(samples[::2]), curve_of(samples[1::2])
    for name in ("sums", "counts", "resampled_sums", "resampled_counts"):
        assert torch.allclose(getattr(left, name) + getattr(right, name), getattr(whole, name))


def test_resamples_are_paired_between_directions():
    """A document weighs the same in both directions, so a constant gap has no spread."""
    rng = np.random.default_rng(2)
    samples = []
    for doc in range(40):
        losses = rng.normal(5, 1, 8)
        samples += [(0, doc, losses.tolist()), (1, doc, (losses + 0.5).tolist())]
    curves = curve_of(samples).curves()
    gaps = curves.resampled_nll[1] - curves.resampled_nll[0]
    assert np.allclose(gaps, 0.5, atol=1e-6)


def test_bootstrap_intervals_follow_documents():
    """A document keeps its weight from batch to batch: two batches equal one."""
    rng = np.random.default_rng(5)
    nll, docs, position = (
        torch.from_numpy(rng.normal(5, 1, 40)),
        torch.arange(20).flip(0).repeat(2),
        torch.zeros(40).long(),
    )
    once, twice = PositionCurve(1, 50, seed=0), PositionCurve(1, 50, seed=0)
    once.update(nll, position, docs, 0)
    for part in (slice(0, 13), slice(13, 40)):
        twice.update(nll[part], position[part], docs[part], 0)
    assert torch.allclose(once.resampled_sums, twice.resampled_sums)


def test_weights_are_poisson_one_and_depend_on_the_document_only():
    """Mean and variance 1, equal for equal documents in any company."""
    weights = poisson_weights(np.arange(4000), 50, seed=3).numpy()
    assert abs(weights.mean() - 1) < 0.01
    assert abs(weights.var() - 1) < 0.03
    counts = np.bincount(weights.astype(int).ravel(), minlength=6)[:6]
    assert np.allclose(counts / weights.size, stats.poisson.pmf(range(6), 1), atol=0.005)
    assert np.array_equal(poisson_weights(np.array([77, 5]), 50, seed=3).numpy()[0], weights[77])


def test_bootstrap_intervals_cover_the_truth():
    """In 2000 simulated corpora the 95% interval of a mean holds the truth 93-97% of the time."""
    rng = np.random.default_rng(4)
    docs, position = torch.arange(200), torch.zeros(200, dtype=torch.int64)
    covered = []
    for trial in range(2000):
        metric = PositionCurve(1, 399, seed=trial)
        metric.update(torch.from_numpy(rng.normal(5, 1, 200)), position, docs, 0)
        low, high = metric.curves().interval()
        covered.append(low[0, 0] <= 5 <= high[0, 0])
    assert 0.93 <= np.mean(covered) <= 0.97


def test_positions_without_tokens_are_absent_not_zero():
    """Short documents leave late positions empty: nan in the curve, ignored by the crossing."""
    samples = [(0, 0, [5.0] * 4), (1, 0, [4.0] * 4)]
    metric = PositionCurve(10, 20, seed=0)
    for direction, doc, losses in samples:
        metric.update(torch.tensor(losses), torch.arange(4), torch.full((4,), doc), direction)
    curves = metric.curves()
    assert np.isnan(curves.nll[:, 4:]).all()
    assert intersection(curves, RULE, 1)["position"] == 0
    assert curves.mean().tolist() == [5.0, 4.0]


def test_smoothing_weighs_by_counts():
    """A position with few tokens moves its neighbours little."""
    values, counts = np.array([1.0, 10.0, 1.0]), np.array([99.0, 1.0, 99.0])
    assert smooth(values, 3, counts)[1] == pytest.approx((99 + 10 + 99) / 199)


def test_a_loss_that_is_no_number_stays_one():
    """A single nan makes the mean nan: it is never dropped as if nothing had been counted."""
    metric = curve_of([(0, 0, [5.0, float("nan"), 5.0]), (1, 0, [5.0, 5.0, 5.0])])
    forward, reverse = metric.curves().mean()
    assert np.isnan(forward)
    assert reverse == 5.0


def test_sums_stay_float64_in_a_bfloat16_model():
    """A module cast to bfloat16 takes its metrics along; counts beyond 256 must survive it."""
    metric = PositionCurve(1, 10, seed=0)
    torch.nn.ModuleList([metric]).to(dtype=torch.bfloat16)
    metric.update(torch.full((1501,), 5.0), torch.zeros(1501).long(), torch.arange(1501), 0)
    assert metric.sums.dtype == torch.float64
    assert metric.curves().count[0, 0] == 1501


def test_no_resamples_no_interval():
    """Without a bootstrap the interval is null, the position stands."""
    samples = [(0, 0, [5.0] * 9), (1, 0, [4.0] * 9)]
    found = intersection(curve_of(samples, resamples=0).curves(), RULE, 1)
    assert (found["position"], found["low"], found["share_never"]) == (0, None, None)


def test_mean_is_over_tokens_not_positions():
    """The loss of a run is its token-weighted mean."""
    curves = Curves(
        np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[3.0, 1.0], [3.0, 1.0]]), *np.zeros((2, 2, 0, 2))
    )
    assert curves.mean().tolist() == [1.25, 3.5]
