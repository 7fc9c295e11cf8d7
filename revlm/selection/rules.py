"""Rules: from the numbers of documents to the order in which a rule wants them."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import rankdata

from revlm.config import Rule, RuleConfig
from revlm.data.order import HashArray, keyed_hash
from revlm.errors import UserError
from revlm.scores.columns import FloatArray
from revlm.selection.candidates import Candidates, RowArray

# Which hash a choice is made by. Training reverses documents by hashes of (seed, doc_id, epoch):
# other keys keep a selection apart from that.
_TIES, _NOISE = 0x7469657300, 0x67756D62656C
_BY_COLUMN = (Rule.top_s, Rule.bottom_s, Rule.length_matched)
_BY_NLL = (Rule.low_nll, Rule.mid_nll, Rule.high_nll)
_LOWEST_FIRST = (Rule.bottom_s, Rule.low_nll)
_NO_TEMPERATURE = (Rule.random, Rule.dsir, Rule.length_matched)


def column_of(rule: Rule, column: str) -> str | None:
    """The column of the score table that a rule goes by: the option's, forward losses, or None for random and dsir."""
    if rule in _BY_COLUMN:
        return column
    return "nll_forward" if rule in _BY_NLL else None


def check_rule(rule: RuleConfig, temperature: float) -> None:
    """Refuse options that a rule cannot mean.

    Raises:
        UserError: dsir without a target, or a temperature that would change nothing.
    """
    if temperature and rule.name in _NO_TEMPERATURE:
        raise UserError(f"temperature={temperature} changes nothing with rule={rule.name}: leave it out.")
    if rule.name is Rule.dsir and rule.target is None:
        raise UserError(
            "rule=dsir chooses what resembles a target: name one with rule.target.source= and its options."
        )


def zscores(candidates: Candidates) -> FloatArray:
    """(N,) values standardised within their domains: minus the mean, over the standard deviation.

    It is the population's, for candidates are all that there is to choose from; score tables compare
    models over a sample of each domain, and have the sample's (`revlm.scores.columns.Moments`). A
    domain of one document, or of equal values, gets zeros. Sums are exactly rounded, so the order of
    documents changes no bit.
    """
    result = np.zeros(len(candidates))
    for here in candidates.groups():
        values = candidates.values[here]
        if len(values) and np.ptp(values) > 0:
            centred = values - math.fsum(values) / len(values)
            result[here] = centred / math.sqrt(math.fsum(centred**2) / len(values))
    return result


def gumbel(hashes: HashArray, seed: int) -> FloatArray:
    """(N,) standard Gumbel noise, decided by (seed, document) alone.

    Adding it to log weights and taking the k largest samples k documents without replacement,
    each in proportion to its weight among those left.

    Source: Kool et al. 2019, arXiv 1903.06059.
    """
    # 52 bits and a half: neither 0 nor 1, exactly.
    uniform = ((keyed_hash(hashes, seed, _NOISE) >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52
    return -np.log(-np.log(uniform))


def ranking(
    rule: Rule, values: FloatArray, hashes: HashArray, *, seed: int, temperature: float = 0.0
) -> RowArray:
    """The order in which a rule takes documents; ties go by a hash of (seed, document).

    The goodness g of a document is its value (top_s, high_nll, dsir), minus its value (bottom_s,
    low_nll), or for mid_nll minus the share of documents between its rank and the median's, so
    that a temperature means the same in corpora of all sizes. The order is that of falling
    g + temperature * Gumbel, which samples with weights exp(g / temperature); dsir, whose values
    are log weights, always has temperature 1. random and length_matched order by the hash alone.

    Args:
        rule: of choice.
        values: (N,) what it goes by.
        hashes: (N,) of the documents.
        seed: of ties and noise.
        temperature: 0 for the best first.

    Returns:
        (N,) positions, first choice first; a function of the set of documents, whatever their order.

    Source: QuRating, arXiv 2402.09739 (sampling by exp(value / temperature)); DSIR, arXiv 2302.03169.
    """
    if rule in (Rule.random, Rule.length_matched):
        return np.argsort(keyed_hash(hashes, seed, _TIES), kind="stable")
    goodness = values
    if rule in _LOWEST_FIRST:
        goodness = -values
    elif rule is Rule.mid_nll:
        goodness = -np.abs(rankdata(values) - (len(values) + 1) / 2) / len(values)
    # DSIR samples by its weights; the others have one order, or a random one already.
    temperature = 1.0 if rule is Rule.dsir else temperature
    if temperature:
        goodness = goodness + temperature * gumbel(hashes, seed)
    return _falling(goodness, hashes, seed)


def _falling(goodness: FloatArray, hashes: HashArray, seed: int) -> RowArray:
    """(N,) positions by falling goodness; only where it is equal are hashes of (seed, document) made and sorted."""
    order = np.argsort(-goodness)
    ordered = goodness[order]
    # Numbers that are none stand last, and are equal to each other.
    equal = (ordered[1:] == ordered[:-1]) | np.isnan(ordered[:-1])
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    group = np.cumsum(np.append(True, ~equal))[tied]
    rows = np.sort(order[tied])  # equal hashes keep the order of rows
    place = np.empty(len(goodness), dtype=np.int64)
    place[order[tied]] = group
    order[tied] = rows[np.lexsort((keyed_hash(hashes[rows], seed, _TIES), place[rows]))]
    return order
