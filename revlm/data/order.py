"""Choices without a generator: hashes decide direction and order, the same in every process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

HashArray = npt.NDArray[np.uint64]


def document_hashes(doc_ids: Iterable[str]) -> HashArray:
    """(N,) 64 bits that stand for each document wherever a choice about it is made, the same on every machine."""
    digests = (hashlib.blake2b(doc_id.encode(), digest_size=8).digest() for doc_id in doc_ids)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def mix64(values: HashArray) -> HashArray:
    """A bijection of 64-bit numbers that looks random (the finaliser of SplitMix64).

    Orders come from sorting by it: unlike a generator's permutation it is the same in every
    version of every library.
    """
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def keyed_hash(values: HashArray, *key: int) -> HashArray:
    """(N,) hashes of values under a key such as (seed, epoch)."""
    with np.errstate(over="ignore"):
        for part in key:
            values = mix64(values ^ mix64(np.asarray([part % 2**64], dtype=np.uint64)))
    return values


def reversed_documents(
    hashes: HashArray, lengths: npt.NDArray[np.int64], *, ratio: float, seed: int, epoch: int
) -> npt.NDArray[np.bool_]:
    """Which documents are read in reverse in this epoch.

    A document is reversed when its hash of (seed, doc_id, epoch) lies below a threshold. The
    threshold is where the reversed tokens make up `ratio` of all, to within half a document.

    Args:
        hashes: (D,) document hashes.
        lengths: (D,) tokens of each.
        ratio: share of tokens to reverse, 0 to 1.
        seed: of the run.
        epoch: pass over the corpus.

    Returns:
        (D,) bool.
    """
    order = np.argsort(keyed_hash(hashes, seed, epoch), kind="stable")
    middles = np.cumsum(lengths[order]) - lengths[order] / 2
    chosen = np.empty(len(hashes), dtype=np.bool_)
    chosen[order] = middles < ratio * lengths.sum()
    return chosen


def interleave(num_forward: int, num_reverse: int, ratio: float) -> npt.NDArray[np.int64]:
    """An order of forward rows (0, 1, ...) and reverse rows (num_forward, ...), evenly mixed.

    Any stretch of n rows holds `ratio * n` reverse rows, give or take one, until one kind is used
    up; the rest of the other follows.
    """
    total = num_forward + num_reverse
    is_reverse = np.diff(np.floor(np.arange(total + 1) * ratio)) > 0
    forward_slots = np.flatnonzero(~is_reverse)[:num_forward]
    reverse_slots = np.flatnonzero(is_reverse)[:num_reverse]
    # Rows that find no slot stand behind all others.
    slots = np.full(total, total, dtype=np.int64)
    slots[: len(forward_slots)] = forward_slots
    slots[num_forward : num_forward + len(reverse_slots)] = reverse_slots
    return np.argsort(slots, kind="stable")
