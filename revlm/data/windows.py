"""Documents to windows, and windows to rows of equal length: sizes only, no ids and no directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from revlm.data.tokens import TokenIds


@dataclass(frozen=True)
class Windows:
    """Pieces of documents, cut from the front at multiples of the window: the same for both directions.

    Attributes:
        doc, start, length: (N,) each window's document, first token in it, and tokens.
    """

    doc: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.doc)


def cut_windows(store: TokenIds, docs: npt.NDArray[np.int64], window: int) -> Windows:
    """All tokens of the documents, each in exactly one window."""
    lengths = store.lengths[docs]
    counts = -(-lengths // window)
    doc = np.repeat(docs, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    start = within * window
    return Windows(doc, start, np.minimum(window, np.repeat(lengths, counts) - start))


@dataclass(frozen=True)
class Rows:
    """Which windows share a row: arrays, since a corpus may have millions.

    Attributes:
        items: (N,) window numbers, row after row.
        offsets: (R + 1,) row r holds items[offsets[r]:offsets[r + 1]].
    """

    items: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def by_number(cls, row_of: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> Rows:
        """Rows from the number of each item's row; no row is empty."""
        order = np.argsort(row_of, kind="stable")
        return cls(items[order], np.concatenate(([0], np.cumsum(np.bincount(row_of)))))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> npt.NDArray[np.int64]:
        """Window numbers of one row."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]


def pack(sizes: npt.NDArray[np.int64], capacity: int) -> npt.NDArray[np.int64]:
    """Items into rows of a capacity, each item whole: best fit, largest first.

    Args:
        sizes: (N,) at most `capacity` each.
        capacity: of a row.

    Returns:
        (N,) the number of each item's row, counted from 0.

    Source: best-fit packing, arXiv 2404.10830.
    """
    row_of = np.empty(len(sizes), dtype=np.int64)
    num_rows = 0
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # by room left
    rooms = 0  # bit r is set when some row has room r
    for item in np.argsort(-sizes, kind="stable"):
        size = int(sizes[item])
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = open_rows[room].pop()
            if not open_rows[room]:
                rooms &= ~(1 << room)
        else:
            room, row = capacity, num_rows
            num_rows += 1
        row_of[item] = row
        open_rows[room - size].append(row)
        rooms |= 1 << (room - size)
    return row_of
