"""Whole documents and exact token budgets."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from revlm.selection.budget import closest, fill, shares

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=9)


def sums(sizes):
    """Every sum that some documents have."""
    return {sum(part) for count in range(len(sizes) + 1) for part in combinations(sizes, count)}


@given(SIZES, st.integers(1, 200))
def test_the_budget_is_met_exactly_whenever_some_documents_sum_to_it(sizes, budget):
    """The total is the largest sum of whole documents that is not above the budget."""
    chosen = fill(np.array(sizes), budget)
    assert np.array(sizes)[chosen].sum() == max(total for total in sums(sizes) if total <= budget)


@given(SIZES, st.integers(0, 200))
def test_the_closest_subset_reaches_no_further_than_needed(sizes, budget):
    """Of all subsets with the best sum, the one whose last document comes first is taken."""
    chosen = np.flatnonzero(closest(np.array(sizes), budget))
    total = sum(sizes[place] for place in chosen)
    assert total == max(t for t in sums(sizes) if t <= budget)
    last = chosen[-1] + 1 if len(chosen) else 0
    assert all(total not in sums(sizes[:shorter]) for shorter in range(last))


@given(st.integers(0, 1000))
def test_documents_are_taken_in_order_and_only_the_end_is_adjusted(seed):
    """Of a long list, all but the last few hundred documents of the choice are its beginning."""
    sizes = np.random.default_rng(seed).integers(1, 400, 2000)
    chosen = fill(sizes, 100_000)
    assert sizes[chosen].sum() == 100_000
    first_left = int(np.argmin(chosen))
    assert np.flatnonzero(chosen)[-1] <= first_left + 400
    assert sizes[:first_left].sum() > 100_000 - 200 * 400


def test_taken_documents_are_put_back_only_where_nothing_else_closes_the_sum():
    """5 is the first choice, and stays unless the budget needs it away."""
    assert fill(np.array([5, 3, 3]), 6).tolist() == [False, True, True]
    assert fill(np.array([5, 3, 3]), 8).tolist() == [True, True, False]


def test_a_budget_above_everything_takes_everything():
    """No document is left out, and none is made up."""
    assert fill(np.array([4, 7]), 1000).all()


def test_huge_documents_cost_no_huge_memory():
    """Where sums would be too many to look at, what fits in order is taken."""
    sizes = np.full(100, 3_000_001)
    assert fill(sizes, 10**8).sum() == 33


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.data())
def test_shares_sum_to_the_budget_and_stay_within_one_token_of_proportion(tokens, data):
    """Largest remainders: no domain is a whole token off its share, and none gets more than it has."""
    total = sum(tokens)
    budget = data.draw(st.integers(0, total)) if total else 0
    if not total:
        return
    split = shares(np.array(tokens), budget)
    assert sum(split) == budget
    for given_tokens, share in zip(tokens, split, strict=True):
        assert abs(share * total - budget * given_tokens) < total
        assert share <= given_tokens
