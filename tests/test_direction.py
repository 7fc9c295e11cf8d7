"""Reading orders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.direction import Direction, boundary_units, orient, reading_order, segment_units

ids_strategy = st.lists(st.integers(0, 9), max_size=40).map(lambda x: np.array(x, dtype=np.uint16))


@given(ids_strategy)
def test_reversing_tokens_twice_gives_the_text_back(ids):
    """Reversal by token is an involution."""
    twice = orient(orient(ids, Direction.REVERSE), Direction.REVERSE)
    assert twice.tolist() == ids.tolist()
    assert orient(ids, Direction.REVERSE).tolist() == ids.tolist()[::-1]


@given(ids_strategy, st.integers(1, 12))
def test_reversing_segments_twice_gives_the_text_back(ids, segment):
    """Segments are cut alike from either end, so the same cut serves twice."""
    units = segment_units(len(ids), segment)
    once = orient(ids, Direction.REVERSE, units)
    assert units.sum() == len(ids)
    assert units.tolist() == units.tolist()[::-1]
    assert orient(once, Direction.REVERSE, units).tolist() == ids.tolist()


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
def test_reversing_words_twice_gives_the_text_back(pairs):
    """Reversal by words is undone by reversal with the words' lengths in the other order."""
    ids = np.array([i for i, _ in pairs], dtype=np.uint16)
    units = boundary_units(np.array([start for _, start in pairs], dtype=bool))
    once = orient(ids, Direction.REVERSE, units)
    assert orient(once, Direction.REVERSE, units[::-1]).tolist() == ids.tolist()


@given(ids_strategy, st.integers(1, 12))
def test_every_direction_holds_the_same_tokens(ids, segment):
    """Orientation permutes tokens and nothing else."""
    units = segment_units(len(ids), segment)
    for oriented in (orient(ids, Direction.REVERSE), orient(ids, Direction.REVERSE, units)):
        assert sorted(oriented.tolist()) == sorted(ids.tolist())


def test_text_position_of_the_ith_token_read():
    """Text position is i forward and n - 1 - i in reverse."""
    assert reading_order(5, Direction.FORWARD).tolist() == [0, 1, 2, 3, 4]
    assert reading_order(5, Direction.REVERSE).tolist() == [4, 3, 2, 1, 0]


def test_words_keep_their_order_inside():
    """Units swap places, their tokens do not."""
    ids = np.array([10, 11, 20, 30, 31, 32])
    assert orient(ids, Direction.REVERSE, np.array([2, 1, 3])).tolist() == [30, 31, 32, 20, 10, 11]


def test_units_that_do_not_cover_the_window_are_refused():
    """A permutation of part of a window would lose tokens."""
    with pytest.raises(ValueError, match="units cover 3 tokens of 5"):
        reading_order(5, Direction.REVERSE, np.array([1, 2]))
