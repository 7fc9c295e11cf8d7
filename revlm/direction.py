"""The one idea: a text can be read from either end.

A *unit* is what stays in order when the rest is reversed: a token (the paper), a word, a sentence
or a segment of tokens. Reversal permutes units and nothing else, so every direction of a window
holds the same tokens, and the permutation itself says where each token stands in the text.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]


class Direction(StrEnum):
    """A reading order."""

    FORWARD = "forward"
    REVERSE = "reverse"

    @property
    def number(self) -> int:
        """Row of this direction in arrays that hold both: 0 forward, 1 reverse."""
        return list(Direction).index(self)


def reading_order(num_tokens: int, direction: Direction, units: IntArray | None = None) -> IntArray:
    """Text positions in the order in which they are read: `oriented = ids[reading_order(...)]`.

    Args:
        num_tokens: length n of the window.
        direction: reading order.
        units: (number of units,) lengths that sum to n, in text order; None: single tokens.

    Returns:
        (n,) int64, a permutation: entry i is the text position of the i-th token read, so
        i forward and n - 1 - i in reverse by token.

    Raises:
        ValueError: the units do not sum to n.
    """
    forward = np.arange(num_tokens)
    if direction is Direction.FORWARD:
        return forward
    if units is None:
        return forward[::-1]
    ends = np.cumsum(units)
    if num_tokens != (ends[-1] if len(ends) else 0):
        raise ValueError(f"units cover {int(ends[-1]) if len(ends) else 0} tokens of {num_tokens}")
    # A unit's tokens keep their order; a token moves by what stands behind its unit minus before it.
    behind, before = num_tokens - ends, ends - units
    order = np.empty(num_tokens, dtype=np.int64)
    order[forward + np.repeat(behind - before, units)] = forward
    return order


def orient(ids: IntArray, direction: Direction, units: IntArray | None = None) -> IntArray:
    """Token ids in the order in which they are read.

    An involution: `orient(orient(ids, d, units), d, units[::-1])` is `ids`. Units of single
    tokens and of segments are their own mirror image, so there the same units serve twice.

    Args:
        ids: (n,) token ids of a window, without special tokens.
        direction: reading order.
        units: see `reading_order`.

    Source: arXiv 2410.09817 reverses the token ids of a document; other units are ours.
    """
    if direction is Direction.FORWARD:
        return ids
    if units is None:
        return ids[::-1]
    return ids[reading_order(len(ids), direction, units)]


def segment_units(num_tokens: int, segment: int) -> IntArray:
    """Lengths of segments of `segment` tokens, the same read from either end.

    What does not divide evenly goes to the middle, which makes reversal by segments an involution.

    Args:
        num_tokens: n >= 0.
        segment: tokens in a segment, at least 1.

    Returns:
        Palindromic lengths that sum to n.
    """
    pairs, middle = divmod(num_tokens, 2 * segment)
    # A middle of more than one segment would hide a boundary that both ends agree on.
    units = [segment] * pairs + ([middle] if middle else []) + [segment] * pairs
    return np.asarray(units, dtype=np.int64)


def boundary_units(starts: npt.NDArray[np.bool_]) -> IntArray:
    """Lengths of units that begin where `starts` is true; the first token begins one in any case.

    Args:
        starts: (n,) true at the first token of each word or sentence.
    """
    if not len(starts):
        return np.empty(0, dtype=np.int64)
    begins = np.flatnonzero(starts[1:]) + 1
    return np.diff(np.concatenate(([0], begins, [len(starts)])))
