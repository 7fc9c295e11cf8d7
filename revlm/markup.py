"""Tables as text: Markdown whose columns line up, and CSV."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Unicode's categories of control characters, line and paragraph separators, and half characters.
BREAKING = {"Cc", "Zl", "Zp", "Cs"}
# Overrides of the direction of writing, which would turn the rest of a line.
TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal, wide characters included."""
    from rich.cells import cell_len

    table = [[shown(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(cell_len(cell) for cell in column)) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in table
    )


def shown(words: str) -> str:
    """Somebody's words on one line of a terminal or a page: what breaks or turns lines is spelt out."""
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in BREAKING or letter in TURNING
        else letter
        for letter in words
    )


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows under a header; what a row lacks is empty, what it has beside the columns is left out."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
