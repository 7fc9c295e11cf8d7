"""What can be said of a text's quality without a model: the measures that S has to be set beside."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

NGRAM = 3
# Of an id, so that three of them fit into one number.
_BITS = 21


def compression_ratio(text: bytes) -> float:
    """Compressed over plain bytes; zlib's level 6, whose output is the same everywhere."""
    return len(zlib.compress(text, 6)) / len(text)


def type_token_ratio(ids: npt.NDArray[np.integer]) -> float:
    """Different tokens over tokens. Falls with length, so compare texts of like lengths.

    Args:
        ids: (n,) of a document, n >= 1.
    """
    return len(np.unique(ids)) / len(ids)


def repeated_ngrams(ids: npt.NDArray[np.integer]) -> float:
    """Share of runs of three tokens that occurred before in the document; 0 for fewer than three tokens.

    Args:
        ids: (n,) of a document.

    Source: duplicate n-grams as a sign of quality, Rae et al. 2021 (2112.11446), appendix A.
    """
    if len(ids) < NGRAM:
        return 0.0
    grams = np.lib.stride_tricks.sliding_window_view(ids, NGRAM)
    if ids.min() >= 0 and ids.max() < 1 << _BITS:
        packed = ids[:-2].astype(np.int64) << 2 * _BITS
        packed |= ids[1:-1].astype(np.int64) << _BITS
        packed |= ids[2:]
        packed.sort()
        return 1 - (1 + np.count_nonzero(packed[1:] != packed[:-1])) / len(grams)
    return 1 - len(np.unique(grams, axis=0)) / len(grams)
