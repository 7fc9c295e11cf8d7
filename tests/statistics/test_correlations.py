"""Correlations: right numbers, intervals that cover, nothing where there is nothing."""

import math

import numpy as np
import pytest
from scipy import stats

from revlm.statistics.correlations import (
    as_columns,
    correlation,
    explained_by,
    partial_correlation,
    pooled_correlation,
)


def normals(rng, r, size):
    """Two normal columns with Pearson's r."""
    x, noise = rng.normal(size=(2, size))
    return x, r * x + math.sqrt(1 - r * r) * noise


def rank_r(r):
    """Spearman's r of a population of normal pairs (Pearson 1907)."""
    return 6 / math.pi * math.asin(r / 2)


def coverage(draw, truth, times):
    """How often the interval of a drawn sample holds the truth."""
    found = [draw() for _ in range(times)]
    return np.mean([one.low <= truth <= one.high for one in found])


@pytest.mark.parametrize(
    ("rank", "reference"), [(True, stats.spearmanr), (False, stats.pearsonr)], ids=["spearman", "pearson"]
)
def test_it_is_scipys_number(rank, reference):
    """With ties or without, r is what scipy says."""
    x, y = normals(np.random.default_rng(0), 0.4, 60)
    for columns in ((x, y), (np.round(x), np.round(y))):
        assert correlation(*columns, rank=rank).value == pytest.approx(
            reference(*columns).statistic, abs=1e-12
        )


def test_pearsons_interval_is_scipys():
    """Fisher's interval of Pearson's r is the one that scipy gives."""
    x, y = normals(np.random.default_rng(1), 0.5, 40)
    found, expected = correlation(x, y, rank=False), stats.pearsonr(x, y).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_ranks_do_not_mind_rising_functions():
    """A rising function of either column changes neither r nor its interval."""
    x, y = normals(np.random.default_rng(2), 0.5, 50)
    assert correlation(np.exp(x), y**3) == correlation(x, y)


@pytest.mark.parametrize("size", [0, 1, 2, 3])
@pytest.mark.parametrize("measure", [correlation, lambda x, y: partial_correlation(x, y, []), explained_by])
def test_fewer_than_four_rows_say_nothing(measure, size):
    """Below four rows there is no correlation and no interval, but a count."""
    found = measure(np.arange(size), np.arange(size))
    assert math.isnan(found.value)
    assert (found.low, found.high, found.n) == (None, None, size)


def test_constant_columns_say_nothing():
    """A column that does not vary, up to rounding, correlates with nothing."""
    x, constant = np.arange(50.0), np.full(50, 0.1) + 1e-18
    for found in (
        correlation(x, constant),
        correlation(constant, x, rank=False),
        partial_correlation(x, constant, [x**2]),
        partial_correlation(x, -x, [x]),
        pooled_correlation(x, constant, np.zeros(50)),
        explained_by(np.zeros(50), x),
        explained_by(x, constant),
    ):
        assert math.isnan(found.value)
        assert found.low is None


def test_a_perfect_correlation_has_no_interval():
    """Fisher's z is infinite at one, so certainty is not claimed."""
    found = correlation(np.arange(9), np.arange(9) ** 2)
    assert (found.value, found.low, found.high, found.n) == (pytest.approx(1), None, None, 9)


def test_rows_without_a_number_are_left_out():
    """A pair with a nan or an infinity counts in neither r nor n."""
    x, y = normals(np.random.default_rng(3), 0.5, 30)
    broken_x, broken_y = np.append(x, [np.nan, 1.0]), np.append(y, [1.0, np.inf])
    assert correlation(broken_x, broken_y) == correlation(x, y)


@pytest.mark.parametrize(("r", "size"), [(0.0, 20), (0.5, 30), (0.8, 200)])
def test_intervals_of_rank_correlations_cover(r, size):
    """Of 95% intervals, 93 to 97 in a hundred hold the population's r."""
    rng = np.random.default_rng(4)
    assert 0.93 <= coverage(lambda: correlation(*normals(rng, r, size)), rank_r(r), 1500) <= 0.97


@pytest.mark.parametrize("levels", [1, 6])
def test_intervals_of_partial_correlations_cover(levels):
    """With a control, and with categories that take degrees of freedom, the interval still covers."""
    rng = np.random.default_rng(5)
    xy, xz, yz = 0.5, 0.5, 0.3
    root = np.linalg.cholesky([[1, xy, xz], [xy, 1, yz], [xz, yz, 1]])
    xy, xz, yz = rank_r(xy), rank_r(xz), rank_r(yz)
    truth = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))

    def draw():
        x, y, z = root @ rng.normal(size=(3, 60))
        return partial_correlation(x, y, [z], [rng.integers(0, levels, 60)])

    assert 0.93 <= coverage(draw, truth, 1500) <= 0.97


@pytest.mark.parametrize("r", [0.0, 0.4])
def test_intervals_within_groups_cover(r):
    """Over groups of unequal sizes, the pooled interval covers."""
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(4), (60, 40, 12, 30))

    def draw():
        x, y = normals(rng, r, len(groups))
        return pooled_correlation(x + 5 * groups, y - 3 * groups, groups)

    assert 0.93 <= coverage(draw, rank_r(r), 800) <= 0.97


@pytest.mark.parametrize("distance", [0.3, 0.8])
def test_intervals_of_explained_shares_cover(distance):
    """The F-based interval holds the population's eta squared of ranks as often as it says."""
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(5), 30)
    means = distance * np.linspace(-1, 1, 5)
    many = np.repeat(np.arange(5), 40_000)
    ranks = stats.rankdata(means[many] + rng.normal(size=len(many)))
    truth = np.var([ranks[many == group].mean() for group in range(5)]) / ranks.var()
    found = coverage(lambda: explained_by(groups, means[groups] + rng.normal(size=150)), truth, 800)
    assert 0.93 <= found <= 0.97


def test_one_control_is_the_textbook_formula():
    """With one control, r is the usual expression of the three rank correlations."""
    rng = np.random.default_rng(8)
    z = rng.normal(size=80)
    x, y = z + rng.normal(size=80), z + rng.normal(size=80)
    xy, xz, yz = (correlation(*pair).value for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_correlation(x, y, [z]).value == pytest.approx(expected, abs=1e-9)


def test_categories_are_one_hot_columns():
    """Means by combination of categories leave what regression on one-hot columns leaves."""
    rng = np.random.default_rng(9)
    domain, language, z = rng.integers(0, 4, 200), rng.integers(0, 2, 200), rng.normal(size=200)
    x, y = z + domain + rng.normal(size=200), z - domain + language + rng.normal(size=200)
    cells = np.eye(8)[domain * 2 + language]
    design = np.column_stack([cells, stats.rankdata(z)])
    left = [v - design @ np.linalg.lstsq(design, v)[0] for v in (stats.rankdata(x), stats.rankdata(y))]
    found = partial_correlation(x, y, [z], [domain, language])
    assert found.value == pytest.approx(stats.pearsonr(*left).statistic, abs=1e-9)


def test_each_control_costs_a_degree():
    """Controls of pure chance leave r about where it is and widen its interval; a copy of one does not."""
    rng = np.random.default_rng(10)
    x, y = normals(rng, 0.5, 40)
    noise = list(rng.normal(size=(20, 40)))
    few, many, twice = (partial_correlation(x, y, c) for c in (noise[:1], noise, noise[:1] * 2))
    assert many.high - many.low > few.high - few.low
    assert (twice.value, twice.low) == pytest.approx((few.value, few.low))


def test_a_confounded_pair_is_unmasked():
    """Two columns that only share a cause correlate plainly, and not given the cause."""
    rng = np.random.default_rng(11)
    cause = rng.normal(size=4000)
    x, y = cause + rng.normal(size=4000), cause + rng.normal(size=4000)
    assert correlation(x, y).low > 0.4
    assert abs(partial_correlation(x, y, [cause]).value) < 0.05


def test_groups_are_no_correlation():
    """Columns that differ between groups only have none within, and many small groups do not bend it."""
    rng = np.random.default_rng(12)
    groups = np.repeat(np.arange(400), 5)
    x, y = normals(rng, 0.6, 2000)
    assert correlation(x + groups, y - groups).value < -0.9
    assert pooled_correlation(x + groups, y - groups, groups).value == pytest.approx(rank_r(0.6), abs=0.05)


def test_explained_share_is_epsilon_squared_of_ranks():
    """Without controls it follows from scipy's F of the ranks."""
    rng = np.random.default_rng(13)
    groups = rng.integers(0, 4, 120)
    y = groups * 0.5 + rng.normal(size=120)
    ranks = stats.rankdata(y)
    f = stats.f_oneway(*(ranks[groups == group] for group in range(4))).statistic
    assert explained_by(groups, y).value == pytest.approx(3 * (f - 1) / (3 * f + 116))


def test_chance_explains_nothing():
    """On average over draws, many categories without effect explain a share of 0."""
    rng = np.random.default_rng(14)
    shares = [explained_by(rng.integers(0, 15, 60), rng.normal(size=60)).value for _ in range(300)]
    assert abs(np.mean(shares)) < 0.02


def test_a_category_settled_by_another_is_not_defined():
    """What a category explains beyond one that decides it is no number."""
    rng = np.random.default_rng(15)
    domain = rng.integers(0, 6, 100)
    assert math.isnan(explained_by(domain // 2, rng.normal(size=100), categories=[domain]).value)


def test_a_null_is_rarely_found_and_an_effect_mostly():
    """Intervals exclude 0 for 5% of nulls, give or take 1.5, and for over 80% of correlations of 0.3."""
    rng = np.random.default_rng(16)

    def share(r):
        found = [correlation(*normals(rng, r, 100)) for _ in range(2000)]
        return np.mean([one.low > 0 or one.high < 0 for one in found])

    assert 0.035 <= share(0.0) <= 0.065
    assert share(0.3) >= 0.8


def test_cells_say_effect_interval_and_n():
    """A cell of a table holds all three, or says that there is none."""
    x, y = normals(np.random.default_rng(17), 0.5, 1200)
    found = correlation(x, y)
    assert found.text() == f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] (n=1,200)"
    assert correlation([1], [1]).text() == "not defined (n=1)"
    assert correlation(x, x).text() == "+1.000 (no interval, n=1,200)"
    assert as_columns(correlation(x, x)) == {"r": pytest.approx(1), "low": None, "high": None, "n": 1200}
