"""Token losses to the numbers of each document: what the score table holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from revlm.config import CurvesConfig
from revlm.measures.crossing import crossing, smooth
from revlm.measures.scoring import TokenLosses


def document_scores(losses: TokenLosses, num_bytes: Sequence[int], rule: CurvesConfig) -> dict[str, Any]:
    """Columns of the score table that follow from token losses: D values each.

    Args:
        losses: of D documents.
        num_bytes: (D,) UTF-8 bytes of each text.
        rule: by which a document's two curves cross.
    """
    sums, counts = losses.sums(), losses.counts()
    forward, reverse = sums / counts
    with np.errstate(invalid="ignore", divide="ignore"):
        without = losses.sums(first=False) / losses.counts(first=False)
    s_without = without[0] - without[1]
    bits = sums / math.log(2) / np.asarray(num_bytes, dtype=np.float64)
    return {
        "num_tokens": counts[0],
        "num_bytes": np.asarray(num_bytes, dtype=np.int64),
        "nll_forward": forward,
        "nll_reverse": reverse,
        "s": forward - reverse,
        "intersection": [document_crossing(losses, index, rule) for index in range(len(losses))],
        "s_without_first": [None if np.isnan(value) else float(value) for value in s_without],
        "bits_per_byte_forward": bits[0],
        "bits_per_byte_reverse": bits[1],
    }


def document_crossing(losses: TokenLosses, index: int, rule: CurvesConfig) -> int | None:
    """Where one document's smoothed curves cross, averaged over its windows; None: never."""
    here = slice(losses.offsets[index], losses.offsets[index + 1])
    size = int(losses.position[:, here].max()) + 1
    sums, counts = np.zeros((2, size)), np.zeros((2, size))
    for direction in range(2):
        where = losses.position[direction, here]
        sums[direction] = np.bincount(where, weights=losses.nll[direction, here], minlength=size)
        counts[direction] = np.bincount(where, minlength=size)
    smoothed = smooth(sums / counts, rule.smoothing, counts)
    found = int(crossing(smoothed[0], smoothed[1], hold=rule.hold))
    return found if found >= 0 else None
