"""Documents to windows, and windows to rows of equal length: sizes only, no ids and no directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from revlm.data.tokens import TokenStore


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
        """Number of windows."""
        return len(self.doc)


def cut_windows(store: TokenStore, docs: npt.NDArray[np.int64], window: int) -> Windows:
    """All tokens of the documents, each in exactly one window."""
    lengths = store.lengths[docs]
    counts = -(-lengths // window)
    doc = np.repeat(docs, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    start = within * window
    return Windows(doc, start, np.minimum(window, np.repeat(lengths, counts) - start))


def pack(sizes: npt.NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Items into rows of a capacity, each item whole: best fit, largest first.

    Args:
        sizes: (N,) at most `capacity` each.
        capacity: of a row.

    Returns:
        Rows of item numbers.

    Source: best-fit packing, arXiv 2404.10830.
    """
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # by room left
    rooms = 0  # bit r is set when some row has room r
    for item in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[item])
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = open_rows[room].pop()
            if not open_rows[room]:
                rooms &= ~(1 << room)
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(item)
        open_rows[room - size].append(row)
        rooms |= 1 << (room - size)
    return rows
