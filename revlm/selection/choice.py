"""Scores, a rule and a budget: which documents. No files, no texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from revlm.config import Rule
from revlm.data.order import HashArray
from revlm.selection.budget import fill, shares
from revlm.selection.candidates import Candidates, Mask, RowArray
from revlm.selection.rules import ranking, zscores


def choose(
    candidates: Candidates,
    *,
    rule: Rule,
    budget_tokens: int,
    seed: int = 0,
    by_domain: bool = False,
    zscore: bool = False,
    temperature: float = 0.0,
) -> Mask:
    """Which documents a rule takes for a budget.

    The sum of their tokens is the budget, or what `fill` says when no documents sum to it; a budget
    above all tokens takes all documents. Neither the order of documents nor any generator matters:
    the same documents, options and seed give the same choice everywhere.

    Args:
        candidates: the documents; for dsir, `values` are the log importance weights.
        rule: of choice.
        budget_tokens: 1 or more.
        seed: of ties and sampling.
        by_domain: split the budget over domains by `domain_budgets` and choose within each.
        zscore: go by `zscores` instead of values.
        temperature: see `ranking`; without effect on random, dsir and length_matched.

    Returns:
        (N,) bool.
    """
    if zscore and rule not in (Rule.random, Rule.dsir):
        candidates = replace(candidates, values=zscores(candidates))
    budgets = domain_budgets(candidates, budget_tokens) if by_domain else [budget_tokens]
    groups = candidates.groups() if by_domain else [np.arange(len(candidates))]
    matched = rule is Rule.length_matched
    first = Rule.top_s if matched else rule
    chosen = np.zeros(len(candidates), dtype=np.bool_)
    for rows, budget in zip(groups, budgets, strict=True):
        values, hashes, sizes = candidates.values[rows], candidates.hashes[rows], candidates.num_tokens[rows]
        order = ranking(first, values, hashes, seed=seed, temperature=temperature)
        taken = order[fill(sizes[order], budget)]
        if matched:
            taken = _length_matched(sizes, hashes, taken, budget, seed)
        chosen[rows[taken]] = True
    return chosen


def domain_budgets(candidates: Candidates, budget_tokens: int) -> list[int]:
    """Each domain's tokens: its share of the budget is its share of all tokens; they sum to the budget.

    A budget above all tokens gives each domain what it has.
    """
    tokens = candidates.tokens_by_domain()
    return shares(tokens, min(budget_tokens, int(tokens.sum())))


def _length_matched(sizes: RowArray, hashes: HashArray, model: RowArray, budget: int, seed: int) -> RowArray:
    """Positions of random documents with the lengths of others, whose positions `model` holds.

    Documents fall into bins [2^k, 2^(k+1)) by their tokens. From the longest bin to the shortest,
    random documents of the bin fill the tokens that the model's documents of that bin have, plus
    what the bin before could not fill, which is less than one of its documents unless the bin ran
    out. What the shortest bin leaves is closed like any budget, over all documents in random order.
    """
    order = ranking(Rule.random, np.zeros(len(sizes)), hashes, seed=seed)
    bins = np.frexp(sizes.astype(np.float64))[1]
    taken, left = np.zeros(len(sizes), dtype=np.bool_), 0
    for k in np.unique(bins[model])[::-1]:
        inside = order[bins[order] == k]
        left += int(sizes[model[bins[model] == k]].sum())
        picked = inside[fill(sizes[inside], left)]
        left -= int(sizes[picked].sum())
        taken[picked] = True
    # Short ones last: they are the first to be put back where the sum cannot be closed otherwise.
    picked = order[taken[order]]
    picked = picked[np.argsort(-bins[picked], kind="stable")]
    order = np.concatenate((picked, order[~taken[order]]))
    return order[fill(sizes[order], budget)]
