"""Rows of tables in any format, one dictionary a row, in constant memory."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from revlm.config import TextFormat
from revlm.data.lines import json_objects, lines_of
from revlm.errors import UnreadableFileError, UnreadableRowError

# Number of a row, from 1, and its values by column; or what is wrong with it.
Rows = Iterator[tuple[int, dict[str, Any] | UnreadableRowError]]
_BATCH_ROWS = 256


def read_rows(path: Path, kind: TextFormat, wanted: Sequence[str], also: Sequence[str] = ()) -> Rows:
    """Rows of a table.

    Args:
        path: of the file.
        kind: how to read it.
        wanted: columns that will be asked for, nested ones by dots.
        also: columns that are wanted if they are there; of Parquet nothing else is read.

    Raises:
        UnreadableFileError: it cannot be opened, is damaged or cut short, or is not UTF-8.
    """
    readers: dict[TextFormat, Callable[[], Rows]] = {
        TextFormat.jsonl: lambda: json_objects(path),
        TextFormat.csv: lambda: _csv_rows(path),
        TextFormat.parquet: lambda: _batch_rows(path, "Parquet", _parquet_batches(path, wanted, also)),
        TextFormat.arrow: lambda: _batch_rows(path, "Arrow stream", _arrow_batches(path)),
    }
    return readers[kind]()


def _csv_rows(path: Path) -> Rows:
    """Rows under a header, as RFC 4180 means them; a file whose name says tsv is divided by tabs."""
    # A text may be longer than the 128 kB that the library allows by default.
    csv.field_size_limit(sys.maxsize)
    tabs = ".tsv" in (suffix.lower() for suffix in path.suffixes)
    lines = (f"{line}\n" for line in lines_of(path))
    reader = csv.DictReader(lines, delimiter="\t" if tabs else ",", strict=True)
    number = 0
    try:
        for number, row in enumerate(reader, start=1):
            where = f"{path}:{number}"
            if None in row:
                what = "more fields than the header has names: quote texts that hold the delimiter."
                yield number, UnreadableRowError(where, what, "more fields than names")
            elif None in row.values():
                what = "fewer fields than the header has names: mend the row."
                yield number, UnreadableRowError(where, what, "fewer fields than names")
            else:
                yield number, row
    except csv.Error as error:
        raise UnreadableFileError(
            f"{path}: no CSV after row {number} ({error}): quote texts as RFC 4180 has it, or set data.format."
        ) from error


def _parquet_batches(path: Path, wanted: Sequence[str], also: Sequence[str]) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as table:
        yield from table.iter_batches(_BATCH_ROWS, columns=_columns(table.schema_arrow.names, wanted, also))


def _arrow_batches(path: Path) -> Iterator[Any]:
    """Batches of an Arrow file as `Dataset.save_to_disk` writes it: a stream."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield from (batch.slice(start, _BATCH_ROWS) for start in range(0, len(batch), _BATCH_ROWS))


def _batch_rows(path: Path, kind: str, batches: Iterator[Any]) -> Rows:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{path}: invalid UTF-8 at byte {error.start} of a text after row {number}: re-encode the column."
        ) from None
    except pa.ArrowException as error:
        raise UnreadableFileError(
            f"{path}: damaged or truncated {kind} ({error}): fetch or write the file again."
        ) from error


def _columns(names: Sequence[str], wanted: Sequence[str], also: Sequence[str]) -> list[str] | None:
    """Columns of a table that hold what is wanted; None (all, so that an error can name them) where one does not."""

    def holds(name: str, column: str) -> bool:
        return column == name or column.startswith(f"{name}.")

    if not all(any(holds(name, column) for name in names) for column in wanted):
        return None
    return [name for name in names if any(holds(name, column) for column in (*wanted, *also))]
