"""Measures of quality that need no model."""

import numpy as np
import pytest

from revlm.measures.text_statistics import compression_ratio, repeated_ngrams, type_token_ratio


def test_text_that_repeats_itself_compresses():
    """Ten copies of a text are hardly longer than one, compressed."""
    text = bytes(range(65, 91)) * 2
    assert compression_ratio(text * 10) < compression_ratio(text) / 5


def test_type_token_ratio_counts_different_tokens():
    """Three of four are different."""
    assert type_token_ratio(np.array([1, 2, 2, 3])) == 0.75


@pytest.mark.parametrize(
    ("ids", "share"), [([1, 2, 3, 4, 5], 0.0), ([1, 2, 3, 1, 2, 3], 0.25), ([7] * 12, 0.9), ([1, 2], 0.0)]
)
def test_repeated_ngrams_counts_what_came_before(ids, share):
    """Of the runs of three tokens, those that are a repetition."""
    assert repeated_ngrams(np.array(ids)) == pytest.approx(share)


@pytest.mark.parametrize("largest", [10, 1 << 21, 1 << 40])
def test_repeated_ngrams_tells_large_ids_apart(largest):
    """No two runs of tokens are taken for one, however large the ids: the definition, in Python."""
    ids = np.random.default_rng(0).integers(max(0, largest - 4), largest, 200)
    runs = {tuple(ids[at : at + 3].tolist()) for at in range(198)}
    assert repeated_ngrams(ids) == pytest.approx(1 - len(runs) / 198)
