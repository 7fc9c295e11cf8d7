"""Choices without chance: hashes of a name, and what a word is; shared by controls and damage."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import numpy.typing as npt

# Languages written without spaces: a word is one character.
UNSPACED = {"zh", "ja"}


def hashes(key: str, count: int) -> npt.NDArray[np.uint64]:
    """(count,) numbers that follow from the key alone, evenly over 64 bits: the same on every machine."""
    return np.frombuffer(hashlib.shake_128(key.encode()).digest(8 * count), dtype="<u8")


def word_pattern(language: str) -> re.Pattern[str]:
    """What a word is: a run of characters other than white space, in Chinese and Japanese one character."""
    return re.compile(r"\S" if language in UNSPACED else r"\S+")
