"""Rows of a corpus as Arrow, so that a text is in memory only while it is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import datasets
import pyarrow as pa

# Rows of a table; their texts stay on disk.
_ROWS = 256


def arrow_rows(dataset: datasets.Dataset, columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of a dataset in order, a few rows at a time, as tables that lie in its memory-mapped file."""
    yield from dataset.select_columns(columns).with_format("arrow").iter(_ROWS)


def texts(dataset: datasets.Dataset) -> Iterator[str]:
    """Every text, one in memory at a time."""
    for table in arrow_rows(dataset, ["text"]):
        for text in table["text"]:
            yield cast(str, text.as_py())
