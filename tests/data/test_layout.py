"""How a row begins and how a window is turned, for all that read or write rows."""

import numpy as np
import pytest

from revlm.config import Granularity
from revlm.data.layout import Layout
from revlm.data.units import units_of
from revlm.direction import Direction


@pytest.mark.parametrize("tags", [{}, {Direction.FORWARD: 2, Direction.REVERSE: 3}])
def test_a_head_is_as_long_as_the_prefix(tokenizer, tags):
    """BOS, and the tag of the direction where there are tags."""
    layout = Layout.of(tokenizer, window=8, tags=tags)
    for direction in Direction:
        assert layout.head(direction) == [layout.bos, *([tags[direction]] if tags else [])]
        assert len(layout.head(direction)) == layout.prefix == layout.row_length - 8


@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize("length", [0, 1, 2, 30])
def test_order_says_where_each_oriented_token_stands(tokenizer, store, granularity, length):
    """`orient` is `ids[order]` for every unit; a text without a token is turned as well."""
    layout = Layout.of(tokenizer, window=64, units=units_of(granularity, 3, tokenizer))
    ids = np.asarray(store.ids[:length])
    for direction in Direction:
        order = layout.order(ids, direction)
        assert sorted(order.tolist()) == list(range(length))
        assert layout.orient(ids, direction).tolist() == ids[order].tolist()
    assert layout.orient(ids, Direction.FORWARD).tolist() == ids.tolist()
