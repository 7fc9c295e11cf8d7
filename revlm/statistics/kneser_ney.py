"""Interpolated modified Kneser-Ney: the loss that counting n-grams reaches, without any training.

Windows are counted apart, each behind one begin symbol (^), as a model's rows are:

    window     a b c         1-grams  a, b, c
                             2-grams  ^a, ab, bc
                             3-grams  ^ab, abc

A token near the beginning of its window has a short history, and the longest n-gram that is there speaks for it.

Counts are arrays. An n-gram's key is the rank of its context among the sorted (n-1)-grams, times the number of symbols,
plus its last symbol: so keys fit into 64 bits for any vocabulary, and n-grams of one context stand together.

Source: Chen & Goodman 1998 (TR-10-98), modified Kneser-Ney with three discounts a level; counts of n-grams that begin with
the begin symbol as in Heafield et al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from revlm.statistics.effect import FloatArray

Ids = npt.NDArray[np.integer]
Ints = npt.NDArray[np.int64]

ORDERS = (2, 3, 4)
# What is counted in seconds and a gigabyte, both directions one after the other.
MAX_TOKENS = 10_000_000
# For counts 1, 2, and 3 or more, where the counts of counts of a small or odd text give none.
FALLBACK = (0.5, 1.0, 1.5)
# Rank of what does not occur. As an index it is the last entry, which every array below keeps for it.
NONE = -1
NO_KEY = np.iinfo(np.int64).max


@dataclass(frozen=True)
class _Shares:
    """How a level divides the probability that each context has to give.

    Attributes:
        kept: (n-grams + 1,) what an n-gram gets for its own count: (count - discount) / total of its context.
        passed: (contexts + 1,) what the level below divides; 1 where nothing is known to follow the context.
    """

    kept: FloatArray
    passed: FloatArray

    @classmethod
    def of(cls, counts: Ints, context: Ints, num_contexts: int) -> _Shares:
        """From the count and the context of each n-gram."""
        discounts = np.array([0.0, *discounts_of(counts)])[np.minimum(counts, 3)]
        total = np.bincount(context, weights=counts, minlength=num_contexts + 1)
        taken = np.bincount(context, weights=discounts, minlength=num_contexts + 1)
        kept = (counts - discounts) / np.maximum(total, 1)[context]
        passed = np.divide(taken, total, out=np.ones(len(total)), where=total > 0)
        return cls(np.append(kept, 0.0), passed)

    def probability(self, rank: Ints, context: Ints, below: FloatArray) -> FloatArray:
        """(n,) of tokens whose n-grams and contexts have these ranks, given what the level below says."""
        found: FloatArray = self.kept[rank] + self.passed[context] * below
        return found


@dataclass(frozen=True)
class _Level:
    """The n-grams of one length: sorted keys, and their shares at the top of a model and below one."""

    keys: Ints
    top: _Shares
    lower: _Shares


class KneserNey:
    """N-gram models of every order up to one, counted once.

    The model of order N counts how often its N-grams occur; its levels below count how many different tokens stand
    before an n-gram. The latter do not depend on N, so models of all orders share them.
    """

    def __init__(self, windows: Sequence[Ids], *, vocab_size: int, order: int = ORDERS[-1]) -> None:
        """Count the n-grams of some windows.

        Args:
            windows: token ids of each window, as they are read, without BOS.
            vocab_size: V; ids are below it. All V share what no count speaks of.
            order: the largest N.

        Raises:
            ValueError: no token, or one outside of the vocabulary.
        """
        self.vocab_size, self.order = vocab_size, order
        symbols, starts = self._read(windows)
        if not len(symbols):
            raise ValueError("there is no token to count")
        # A 1-gram's rank is its symbol, so that the begin symbol has one too: it is a context and is never counted.
        ranks, size = symbols, vocab_size + 1
        keys, counts = [np.arange(size)], [np.bincount(symbols, minlength=size)]
        before: list[Ints] = []
        for n in range(2, order + 1):
            context = _context(ranks, starts, n)
            there = np.flatnonzero(context != NONE)
            found, sample, rank, count = _distinct(context[there] * size + symbols[there])
            # Each different n-gram is one more token before the (n-1)-gram in which it ends.
            before.append(np.bincount(ranks[there[sample]], minlength=len(keys[-1])))
            ranks = np.full(len(symbols), NONE)
            ranks[there] = rank
            keys.append(found)
            counts.append(count)
        self._levels = self._divide(keys, counts, [*before, counts[-1]])

    def nll(self, windows: Sequence[Ids]) -> dict[int, FloatArray]:
        """Negative log-likelihood of each token, under the model of each order.

        Args:
            windows: as for counting.

        Returns:
            order, from 1 on -> (tokens of all windows,) nats, always finite.

        Raises:
            ValueError: a token outside of the vocabulary.
        """
        symbols, starts = self._read(windows)
        ranks, lower = symbols, np.full(len(symbols), 1 / self.vocab_size)
        found: dict[int, FloatArray] = {}
        for n, level in enumerate(self._levels, start=1):
            context = _context(ranks, starts, n)
            wanted = context * (self.vocab_size + 1) + symbols
            at = np.searchsorted(level.keys, wanted)
            ranks = np.where(level.keys[at] == wanted, at, NONE)
            found[n] = -np.log(level.top.probability(ranks, context, lower))
            lower = level.lower.probability(ranks, context, lower)
        return found

    def _divide(self, keys: list[Ints], counts: list[Ints], before: list[Ints]) -> list[_Level]:
        num_contexts = [1, *map(len, keys)]
        levels = []
        for key, count, others, contexts in zip(keys, counts, before, num_contexts, strict=False):
            context = key // (self.vocab_size + 1)
            # Nothing can stand before the begin symbol: n-grams that begin with it count as often as they occur.
            adjusted = np.where(others > 0, others, count)
            top, lower = (_Shares.of(c, context, contexts) for c in (count, adjusted))
            levels.append(_Level(np.append(key, NO_KEY), top, lower))
        return levels

    def _read(self, windows: Sequence[Ids]) -> tuple[Ints, Ints]:
        """Symbols of all windows, which are ids + 1 as 0 is the begin symbol, and where each window starts."""
        lengths = np.array([len(ids) for ids in windows], dtype=np.int64)
        symbols = np.concatenate([np.empty(0, dtype=np.int64), *windows]).astype(np.int64) + 1
        if len(symbols) and not 1 <= symbols.min() <= symbols.max() <= self.vocab_size:
            raise ValueError(
                f"ids from {symbols.min() - 1} to {symbols.max() - 1} in a vocabulary of {self.vocab_size}"
            )
        starts = np.cumsum(lengths) - lengths
        return symbols, starts[lengths > 0]


def discounts_of(counts: Ints) -> tuple[float, float, float]:
    """What is taken off counts of 1, of 2, and of 3 or more, by how many n-grams have the counts 1 to 4.

    Args:
        counts: (n-grams,); zeros are not looked at.

    Returns:
        The three of Chen & Goodman, or `FALLBACK` where a formula divides by nothing or leaves (0, count].
    """
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].tolist()
    if not (n1 and n2 and n3):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    one, two, three = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    # The first formula cannot leave its range.
    return (one, two, three) if two > 0 and three > 0 else FALLBACK


def _context(ranks: Ints, starts: Ints, n: int) -> Ints:
    """Rank of the context of each token's n-gram, from the ranks of the (n-1)-grams that end in each token."""
    context = np.zeros_like(ranks)
    if n > 1:
        context[1:] = ranks[:-1]
        # Before a window stands the begin symbol, and nothing before that.
        context[starts] = 0 if n == 2 else NONE  # noqa: PLR2004
    return context


def _distinct(keys: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Sorted distinct keys, a place of each, the rank of every key among them, and how often each occurs.

    As `np.unique`, in half its time: which place stands for a key does not matter, so the sort need not be stable.
    """
    order = np.argsort(keys)
    ordered = keys[order]
    new = np.diff(ordered, prepend=NONE) != 0
    first = np.flatnonzero(new)
    rank = np.empty_like(keys)
    rank[order] = np.cumsum(new) - 1
    return ordered[first], order[first], rank, np.diff(first, append=len(keys))
