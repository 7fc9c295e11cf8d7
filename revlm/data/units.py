"""What stays in order when the rest is reversed: units of a window, by granularity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from revlm.config import DataConfig, Granularity
from revlm.data.tokens import TokenStore, unit_starts
from revlm.direction import IntArray, boundary_units, segment_units
from revlm.errors import UserError

# From a window's ids to the lengths of its units, in text order; None: single tokens.
Units = Callable[[IntArray], IntArray] | None
# Tokens in which words or sentences are looked for, and how many there must be at least.
UNIT_PROBE = 100_000
UNITS_PER_TOKEN = 0.005


def units_of(granularity: Granularity, segment_tokens: int, tokenizer: PreTrainedTokenizerFast) -> Units:
    """The units of a granularity, as this tokenizer cuts them."""
    if granularity is Granularity.token:
        return None
    if granularity is Granularity.segment:
        return partial(_segments, segment_tokens)
    begins_word, ends_sentence = unit_starts(tokenizer)
    if granularity is Granularity.word:
        return partial(_words, begins_word)
    return partial(_sentences, ends_sentence)


def checked_units(data: DataConfig, tokenizer: PreTrainedTokenizerFast, store: TokenStore) -> Units:
    """`units_of`, refused where the text has hardly any.

    Raises:
        UserError: reversal would leave this text as it is.
    """
    units = units_of(data.granularity, data.segment_tokens, tokenizer)
    if units is None or data.granularity is Granularity.segment:
        return units
    text = store.ids[:UNIT_PROBE]
    if len(units(text)) < UNITS_PER_TOKEN * len(text):
        name = data.granularity.value
        raise UserError(
            f"data.granularity={name}: hardly any {name} begins or ends in this text, so "
            "reversal would leave it as it is: choose token or segment."
        )
    return units


def _segments(segment: int, ids: IntArray) -> IntArray:
    return segment_units(len(ids), segment)


def _words(begins_word: npt.NDArray[np.bool_], ids: IntArray) -> IntArray:
    return boundary_units(begins_word[ids])


def _sentences(ends_sentence: npt.NDArray[np.bool_], ids: IntArray) -> IntArray:
    return boundary_units(np.concatenate(([True], ends_sentence[ids]))[:-1])
