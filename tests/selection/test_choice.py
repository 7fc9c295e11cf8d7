"""Choosing documents: pure functions of documents, options and seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revlm.config import Rule
from revlm.selection.choice import choose, domain_budgets
from tests.selection.conftest import make_scores, taken_ids

SIZE = 600
IDS = [f"document {n}" for n in range(SIZE)]
RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=SIZE)
DOMAINS = RANDOM.choice(["books", "code", "web"], SIZE, p=[0.2, 0.3, 0.5])
TOKENS = RANDOM.integers(20, 2000, SIZE)
BUDGET = int(TOKENS.sum() * 0.3)
SCORES = make_scores(VALUES, domains=DOMAINS, num_tokens=TOKENS, ids=IDS)


@pytest.mark.parametrize("by_domain", [False, True])
@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_meets_the_budget_exactly(rule, by_domain):
    """Whole documents, and their tokens sum to the budget."""
    chosen = choose(SCORES, rule=rule, budget_tokens=BUDGET, by_domain=by_domain)
    assert SCORES.num_tokens[chosen].sum() == BUDGET


@settings(max_examples=20)
@given(
    st.permutations(range(SIZE)),
    st.sampled_from(list(Rule)),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.7]),
)
def test_the_order_of_rows_changes_nothing(order, rule, by_domain, zscore, temperature):
    """The same documents are chosen however they are listed."""
    options = {"by_domain": by_domain, "zscore": zscore, "temperature": temperature, "seed": 2}
    other = make_scores(VALUES, domains=DOMAINS, num_tokens=TOKENS, ids=IDS, order=np.array(order))
    first, second = (
        taken_ids(scores, choose(scores, rule=rule, budget_tokens=BUDGET, **options), IDS)
        for scores in (SCORES, other)
    )
    assert first == second


@pytest.mark.parametrize("rule", [Rule.random, Rule.dsir, Rule.length_matched])
def test_seeds_decide_what_is_random(rule):
    """One seed, one choice; another seed, another."""
    chosen = [choose(SCORES, rule=rule, budget_tokens=BUDGET, seed=seed) for seed in (1, 1, 2)]
    assert (chosen[0] == chosen[1]).all()
    assert (chosen[0] != chosen[2]).any()


def test_what_is_not_random_hears_no_seed():
    """Without ties and temperature all seeds choose alike."""
    chosen = [choose(SCORES, rule=Rule.top_s, budget_tokens=BUDGET, seed=seed) for seed in range(4)]
    assert all((other == chosen[0]).all() for other in chosen)


def test_top_s_takes_the_best_but_for_the_closing_of_the_sum():
    """No document above the last few hundred is passed over."""
    chosen = choose(SCORES, rule=Rule.top_s, budget_tokens=BUDGET)
    plain = np.cumsum(SCORES.num_tokens[np.argsort(-SCORES.values)])
    best = np.argsort(-SCORES.values)[: int((plain <= BUDGET).sum())]
    assert chosen[best].mean() > 0.97


def test_top_and_bottom_mirror_each_other():
    """bottom_s of S is top_s of -S."""
    mirrored = make_scores(-VALUES, domains=DOMAINS, num_tokens=TOKENS, ids=IDS)
    top = choose(mirrored, rule=Rule.top_s, budget_tokens=BUDGET)
    assert (choose(SCORES, rule=Rule.bottom_s, budget_tokens=BUDGET) == top).all()


@pytest.mark.parametrize("rule", list(Rule))
def test_by_domain_keeps_the_shares_of_the_corpus(rule):
    """Each domain gets tokens in proportion to what it has, to the token."""
    chosen = choose(SCORES, rule=rule, budget_tokens=BUDGET, by_domain=True)
    budgets = domain_budgets(SCORES, BUDGET)
    assert SCORES.tokens_by_domain(chosen).tolist() == budgets
    shares = SCORES.tokens_by_domain() / SCORES.num_tokens.sum()
    assert np.allclose(np.array(budgets) / BUDGET, shares, atol=1 / BUDGET)


def test_a_domain_that_cannot_be_filled_stays_below_its_share():
    """Its tokens go to no other domain: the total is short by them."""
    scores = make_scores([1.0, 2, 3], domains=["a", "b", "b"], num_tokens=[10, 5, 5])
    chosen = choose(scores, rule=Rule.top_s, budget_tokens=10, by_domain=True)
    assert scores.tokens_by_domain(chosen).tolist() == [0, 5]


def test_zscores_let_no_domain_win_by_its_level():
    """With a shift of one domain, plain top_s takes that domain alone and z-scored top_s does not change."""
    shifted = make_scores(VALUES + 64 * (DOMAINS == "code"), domains=DOMAINS, num_tokens=TOKENS, ids=IDS)
    small = int(SCORES.tokens_by_domain()[1] * 0.5)
    plain = choose(shifted, rule=Rule.top_s, budget_tokens=small)
    assert {shifted.names[code] for code in shifted.domains[plain]} == {"code"}
    first, second = (
        choose(scores, rule=Rule.top_s, budget_tokens=small, zscore=True) for scores in (SCORES, shifted)
    )
    assert (first == second).all()


def test_a_temperature_lies_between_the_best_and_any():
    """The mean value of the choice falls as the temperature rises, from top_s to random."""
    means = [
        SCORES.values[choose(SCORES, rule=Rule.top_s, budget_tokens=BUDGET, temperature=t)].mean()
        for t in (0, 0.3, 1, 100)
    ]
    assert means == sorted(means, reverse=True)
    assert abs(means[-1]) < 0.15 < means[0]


def histogram(scores, chosen):
    """Tokens by powers of two of the length."""
    bins = np.floor(np.log2(scores.num_tokens[chosen])).astype(int)
    return np.bincount(bins, weights=scores.num_tokens[chosen], minlength=12)


@pytest.mark.parametrize("by_domain", [False, True])
def test_length_matched_has_the_lengths_of_top_s(by_domain):
    """Tokens by length agree to less than a document of each length, where top_s prefers long ones."""
    scores = make_scores(VALUES + np.log(TOKENS), domains=DOMAINS, num_tokens=TOKENS, ids=IDS)
    top, matched, plain = (
        choose(scores, rule=rule, budget_tokens=BUDGET, by_domain=by_domain)
        for rule in (Rule.top_s, Rule.length_matched, Rule.random)
    )
    groups = scores.groups() if by_domain else [np.arange(len(scores))]
    for rows in groups:
        inside = np.isin(np.arange(len(scores)), rows)
        difference = histogram(scores, matched & inside) - histogram(scores, top & inside)
        assert (np.abs(difference) < 2.0 ** np.arange(1, 13)).all()
    assert np.abs(histogram(scores, plain) - histogram(scores, top)).max() > 20_000


def test_length_matched_fills_what_a_length_leaves_with_the_next_shorter_one():
    """A bin whose random documents cannot meet its tokens passes the rest on, not to any length."""
    tokens = np.concatenate(([2047], np.arange(1024, 2024, 2), np.arange(64, 128).repeat(5), np.full(500, 3)))
    best = np.zeros(len(tokens))
    best[0], best[501:506] = 2, 1
    scores = make_scores(best, num_tokens=tokens)
    for seed in range(5):
        chosen = choose(scores, rule=Rule.length_matched, budget_tokens=2047 + 5 * 64, seed=seed)
        assert scores.num_tokens[chosen].sum() == 2047 + 5 * 64
        assert scores.num_tokens[chosen].min() >= 64


def test_length_matched_is_random_otherwise():
    """Within its lengths it does not prefer what top_s prefers."""
    chosen = choose(SCORES, rule=Rule.length_matched, budget_tokens=BUDGET)
    assert abs(SCORES.values[chosen].mean()) < 0.15


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=12),
    st.integers(1, 300),
    st.sampled_from(list(Rule)),
    st.booleans(),
)
def test_no_budget_is_exceeded(tokens, budget, rule, by_domain):
    """Whatever the documents, the choice costs no more than the budget; above all tokens it is all."""
    domains = ["a" if n % 3 else "b" for n in range(len(tokens))]
    scores = make_scores(np.sin(tokens), domains=domains, num_tokens=tokens)
    chosen = choose(scores, rule=rule, budget_tokens=budget, by_domain=by_domain)
    assert scores.num_tokens[chosen].sum() <= budget
    if budget >= sum(tokens):
        assert chosen.all()
