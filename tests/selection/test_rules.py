"""Rules: the order in which documents are wanted."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from revlm.config import CorpusConfig, Rule, RuleConfig
from revlm.data.order import document_hashes, keyed_hash
from revlm.errors import UserError
from revlm.selection import rules
from revlm.selection.rules import check_rule, column_of, gumbel, ranking, zscores
from tests.selection.conftest import make_scores

HASHES = document_hashes([f"document {n}" for n in range(400)])
VALUES = np.random.default_rng(0).normal(size=400)


@pytest.mark.parametrize(
    ("rule", "goodness"),
    [
        (Rule.top_s, VALUES),
        (Rule.bottom_s, -VALUES),
        (Rule.low_nll, -VALUES),
        (Rule.high_nll, VALUES),
        (Rule.mid_nll, -np.abs(np.argsort(np.argsort(VALUES)) - 199.5)),
    ],
    ids=str,
)
def test_without_temperature_the_best_come_first(rule, goodness):
    """Goodness falls along the ranking, whatever the seed."""
    for seed in (0, 1):
        assert (np.diff(goodness[ranking(rule, VALUES, HASHES, seed=seed)]) <= 0).all()


@pytest.mark.parametrize("rule", list(Rule))
def test_ties_go_by_seed_and_document_alone(rule):
    """Equal values: the order is that of the documents' hashes, a different one for each seed."""
    values, order = np.ones(400), np.random.default_rng(1).permutation(400)
    plain = HASHES[ranking(rule, values, HASHES, seed=3)]
    assert (HASHES[order][ranking(rule, values, HASHES[order], seed=3)] == plain).all()
    assert (HASHES[ranking(rule, values, HASHES, seed=4)] != plain).any()


def test_equal_losses_are_equally_near_to_the_median():
    """mid_nll gives tied losses one rank, so that only the hash decides between them."""
    values = np.array([1.0, 2.0, 2.0, 3.0])
    firsts = {int(ranking(Rule.mid_nll, values, HASHES[:4], seed=seed)[0]) for seed in range(40)}
    assert firsts == {1, 2}


def test_gumbel_noise_is_gumbel():
    """Its distribution is the standard Gumbel's, its values finite for any hash."""
    hashes = document_hashes([str(n) for n in range(20_000)])
    assert stats.kstest(gumbel(hashes, 5), "gumbel_r").pvalue > 0.01
    ends = gumbel(np.arange(10_000, dtype=np.uint64), 0)
    assert np.isfinite(ends).all()


@pytest.mark.parametrize("rule", [Rule.top_s, Rule.low_nll])
def test_sampling_matches_the_exact_probabilities(rule):
    """The first two of four come out as sampling without replacement by exp(g / temperature) says."""
    values, temperature, draws = np.array([0.0, 0.5, 1.0, 2.0]), 0.8, 12_000
    goodness = -values if rule is Rule.low_nll else values
    weights = np.exp(goodness / temperature)
    pairs = list(permutations(range(4), 2))
    exact = [weights[a] / weights.sum() * weights[b] / (weights.sum() - weights[a]) for a, b in pairs]
    seen = Counter(
        tuple(ranking(rule, values, HASHES[:4], seed=seed, temperature=temperature)[:2].tolist())
        for seed in range(draws)
    )
    test = stats.chisquare([seen[pair] for pair in pairs], np.array(exact) * draws)
    assert test.pvalue > 0.001


def test_dsir_samples_by_its_weights():
    """log weights of 0, 1 and 2 make first choices in proportion to 1, e and e squared."""
    values, draws = np.array([0.0, 1.0, 2.0]), 6000
    seen = Counter(int(ranking(Rule.dsir, values, HASHES[:3], seed=seed)[0]) for seed in range(draws))
    expected = np.exp(values) / np.exp(values).sum() * draws
    assert stats.chisquare([seen[n] for n in range(3)], expected).pvalue > 0.001


def test_a_high_temperature_forgets_the_values():
    """The order of a hot ranking is as unrelated to the values as a random one's."""
    order = ranking(Rule.top_s, VALUES, HASHES, seed=0, temperature=1e9)
    assert abs(stats.spearmanr(VALUES[order], np.arange(400)).statistic) < 0.15


def test_a_low_temperature_is_the_plain_ranking():
    """As the temperature falls, sampling becomes taking the best."""
    cold = ranking(Rule.top_s, VALUES, HASHES, seed=0, temperature=1e-300)
    assert (cold == ranking(Rule.top_s, VALUES, HASHES, seed=0)).all()


def test_a_selection_is_unrelated_to_what_training_reverses():
    """Training with the same seed does not reverse just the documents that were selected."""
    from revlm.data.order import keyed_hash

    hashes = document_hashes([str(n) for n in range(5000)])
    selected = ranking(Rule.random, np.zeros(5000), hashes, seed=0)
    reversed_first = keyed_hash(hashes, 0, 0)[selected]
    assert abs(stats.spearmanr(reversed_first.astype(float), np.arange(5000)).statistic) < 0.05


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.integers(-(2**20), 2**20))
def test_zscores_do_not_see_a_shifted_domain(values, shift):
    """Adding a number to all values of one domain changes no z-score."""
    domains = ["a" if n % 2 else "b" for n in range(len(values))]
    shifted = [value + shift * (domain == "a") for value, domain in zip(values, domains, strict=True)]
    plain, moved = (zscores(make_scores(v, domains=domains)) for v in (values, shifted))
    assert np.allclose(plain, moved, atol=1e-9)


def test_zscores_have_mean_0_and_variance_1_within_each_domain():
    """With the population's standard deviation, whatever the domain's scale."""
    domains = np.random.default_rng(2).choice(["a", "b", "c"], 400)
    values = VALUES * np.where(domains == "a", 100, 1) + np.where(domains == "b", 7, 0)
    scores = make_scores(values, domains=domains)
    standardised = zscores(scores)
    for rows in scores.groups():
        assert standardised[rows].mean() == pytest.approx(0, abs=1e-12)
        assert standardised[rows].std() == pytest.approx(1)


def test_a_domain_of_one_or_of_equal_values_is_average():
    """Nothing is divided by zero: such documents get z-scores of exactly 0."""
    scores = make_scores([0.1, 0.1, 0.1, 5.0], domains=["a", "a", "a", "b"])
    assert zscores(scores).tolist() == [0, 0, 0, 0]


def test_each_rule_has_its_column():
    """The option column= reaches the rules that compare by it, and no others."""
    columns = {rule.value: column_of(rule, "compression_ratio") for rule in Rule}
    assert columns == {
        "top_s": "compression_ratio", "bottom_s": "compression_ratio", "length_matched": "compression_ratio",
        "low_nll": "nll_forward", "mid_nll": "nll_forward", "high_nll": "nll_forward",
        "random": None, "dsir": None,
    }  # fmt: skip


@pytest.mark.parametrize("rule", [Rule.random, Rule.dsir, Rule.length_matched])
def test_a_temperature_that_changes_nothing_is_refused(rule):
    """Whoever sets an option means something by it."""
    with pytest.raises(UserError, match=rf"temperature=0\.5 changes nothing with rule={rule}"):
        check_rule(RuleConfig(rule, CorpusConfig()), 0.5)


def test_dsir_needs_a_target():
    """The message names the options."""
    with pytest.raises(UserError, match=r"rule\.target\.source="):
        check_rule(RuleConfig(Rule.dsir), 0.0)


@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, float("nan")]), max_size=40), st.integers(0, 5))
def test_ties_are_hashed_alone_and_change_no_order(values, seed):
    """The order is that of a sort by goodness, then by the hash of (seed, document), over all documents."""
    goodness, hashes = np.array(values), document_hashes(str(number) for number in range(len(values)))
    whole = np.lexsort((keyed_hash(hashes, seed, rules._TIES), -goodness))
    assert ranking(Rule.top_s, goodness, hashes, seed=seed).tolist() == whole.tolist()
