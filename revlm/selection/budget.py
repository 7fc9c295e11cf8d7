"""Whole documents that fill a token budget exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from revlm.selection.candidates import Mask, RowArray

# Documents behind the last one that fits, and before it, that may close the budget.
WINDOW = 200
# Sums looked at while closing; a bound on memory (4 bytes each) for corpora of huge documents.
MAX_SUMS = 2**22


def fill(sizes: RowArray, budget: int) -> Mask:
    """Which documents fill a budget, the first ones first.

    Documents are taken in order until the next one no longer fits. The rest is closed by those of
    the next 200 documents whose sizes sum to it, reaching as little far down the order as
    possible. Where none do, the last 1, 2, 4, ... 200 taken documents are put back and take part.
    Where that fails too, the largest sum below the budget is taken. So among up to 200 documents
    the budget is met exactly whenever any of their subsets meets it, as long as the documents in
    question have no more than 4 million tokens.

    Args:
        sizes: (N,) tokens, 1 or more each, in the order of choice.
        budget: tokens.

    Returns:
        (N,) bool.
    """
    before = np.append(0, np.cumsum(sizes))
    taken = int(np.searchsorted(before, budget, side="right")) - 1
    best = np.arange(len(sizes)) < taken
    most, back = int(before[taken]), 0
    while taken < len(sizes) and most < budget:
        start = taken - back
        rest = budget - int(before[start])
        if back and rest > MAX_SUMS:
            break
        closing = closest(sizes[start : taken + WINDOW], rest)
        total = int(before[start]) + int(sizes[start : taken + WINDOW][closing].sum())
        if total > most:
            most = total
            best = np.arange(len(sizes)) < start
            best[start : taken + WINDOW] = closing
        if back == min(taken, WINDOW):
            break
        back = min(max(1, 2 * back), taken, WINDOW)
    return best


def closest(sizes: RowArray, budget: int) -> Mask:
    """The subset with the largest sum up to a budget; of several, the one whose last is earliest.

    Args:
        sizes: (M,) 1 or more each.
        budget: 0 or more.

    Returns:
        (M,) bool.
    """
    # by[t]: the item (from 1) that first made the sum t possible; 0 for the empty sum, -1 for none.
    by = np.full(budget + 1, -1, dtype=np.int32)
    by[0] = 0
    for item, size in enumerate(sizes.tolist(), start=1):
        if size <= budget:
            by[size:][(by[:-size] >= 0) & (by[size:] < 0)] = item
        if by[budget] >= 0:
            break
    chosen = np.zeros(len(sizes), dtype=np.bool_)
    total = int(np.flatnonzero(by >= 0)[-1])
    while total:
        item = int(by[total]) - 1
        chosen[item] = True
        total -= int(sizes[item])
    return chosen


def shares(tokens: npt.NDArray[np.int64], budget: int) -> list[int]:
    """A budget split in proportion, in whole tokens that sum to it exactly: largest remainders.

    Args:
        tokens: (D,) 0 or more; ties of remainders go to the first.
        budget: up to their sum.
    """
    counts = tokens.tolist()
    total = sum(counts)
    result = [budget * count // total for count in counts]
    remainders = sorted(range(len(counts)), key=lambda d: (-(budget * counts[d] % total), d))
    for d in remainders[: budget - sum(result)]:
        result[d] += 1
    return result
