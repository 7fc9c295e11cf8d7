"""Columns of a score table as arrays, read in batches; of a huge one, those of a chosen subset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from revlm.data.document import nearest
from revlm.data.order import document_hashes
from revlm.errors import UnreadableFileError, UserError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# More documents than this move no correlation and fill memory.
MAX_ROWS = 1_000_000
FEW = 2


class Codes:
    """Names to numbers, in order of their first appearance."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """Name of each number."""
        return list(self.known)

    def encode(self, values: pa.Array) -> IntArray:
        """(n,) numbers of strings; null counts as the empty string."""
        encoded = values.cast(pa.string()).fill_null("").dictionary_encode()
        codes = [self.known.setdefault(name, len(self.known)) for name in encoded.dictionary.to_pylist()]
        return np.asarray(np.array(codes, dtype=np.int64)[encoded.indices.to_numpy()])


class Moments:
    """Count, mean and spread of numbers by group, added up batch by batch.

    Source: Chan, Golub & LeVeque (1983), which loses no digits where the mean is far from 0.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = np.zeros(0), np.zeros(0), np.zeros(0)

    def add(self, groups: IntArray, values: FloatArray) -> None:
        """Add (n,) numbers to their groups, non-finite ones left out."""
        groups, values = groups[np.isfinite(values)], values[np.isfinite(values)]
        size = max(len(self.count), int(groups.max(initial=-1)) + 1)
        for name in ("count", "mean", "squares"):
            setattr(self, name, np.pad(getattr(self, name), (0, size - len(getattr(self, name)))))
        count = np.bincount(groups, minlength=size)
        mean = np.bincount(groups, weights=values, minlength=size) / np.maximum(count, 1)
        squares = np.bincount(groups, weights=(values - mean[groups]) ** 2, minlength=size)
        total, apart = self.count + count, mean - self.mean
        share = count / np.maximum(total, 1)
        self.squares += squares + apart**2 * self.count * share
        self.mean += apart * share
        self.count = total

    @property
    def std(self) -> FloatArray:
        """Sample standard deviation of each group; nan for fewer than two numbers."""
        few = self.count < FEW
        return np.where(few, np.nan, np.sqrt(self.squares / np.where(few, 1, self.count - 1)))

    def zscores(self, groups: IntArray, values: FloatArray) -> FloatArray:
        """(n,) deviations from the group's mean in standard deviations; nan in groups that have none.

        The standard deviation is the sample's: a table's documents are a sample of their domain, and
        models are compared over it. `revlm.selection.rules.zscores` has the population's.
        """
        std = self.std
        # Equal numbers spread by no more than rounding.
        std = np.where(std > 1e-12 * np.maximum(np.abs(self.mean), 1e-3), std, np.nan)
        return (values - self.mean[groups]) / std[groups]


@dataclass(frozen=True)
class Columns:
    """Columns of the documents that were read, each (n,).

    Attributes:
        numbers: float64, null as nan.
        categories: whole numbers, equal where the name is.
        names: of each category's numbers.
        num_rows: of the table; more than n where a subset was read.
    """

    numbers: dict[str, FloatArray]
    categories: dict[str, IntArray]
    names: dict[str, list[str]]
    num_rows: int

    def __len__(self) -> int:
        return len(next(iter((self.numbers | self.categories).values())))


def read_columns(
    path: Path, numbers: Sequence[str], categories: Sequence[str] = (), *, limit: int = MAX_ROWS
) -> Columns:
    """Columns of a table, batch by batch.

    Args:
        path: a score table.
        numbers: columns of numbers.
        categories: columns of strings.
        limit: about as many documents are read of a longer table, chosen by a hash of doc_id, the
            same in every table that holds them.

    Raises:
        UserError: no score table, or it lacks a column.
    """
    with open_table(path, [*numbers, *categories]) as table:
        num_rows = table.metadata.num_rows
    subset = ["doc_id"] if num_rows > limit else []
    codes = {name: Codes() for name in categories}
    parts: dict[str, list[npt.NDArray]] = {name: [] for name in (*numbers, *categories)}
    for batch in read_batches(path, [*numbers, *categories, *subset]):
        kept = below(batch["doc_id"], limit / num_rows) if subset else slice(None)
        for name in numbers:
            parts[name].append(as_numbers(batch[name])[kept])
        for name, code in codes.items():
            parts[name].append(code.encode(batch[name])[kept])
    joined = {name: np.concatenate(found) if found else np.zeros(0) for name, found in parts.items()}
    return Columns(
        numbers={name: joined[name] for name in numbers},
        categories={name: joined[name].astype(np.int64) for name in categories},
        names={name: code.names for name, code in codes.items()},
        num_rows=num_rows,
    )


def read_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a table in order, some columns of them.

    Raises:
        UserError: see `open_table`; the table may also turn out to be damaged in its middle.
    """
    with open_table(path, columns) as table, _damage_named(path):
        yield from table.iter_batches(columns=list(columns))


def open_table(path: Path, columns: Sequence[str]) -> parquet.ParquetFile:
    """A table, once it is known to hold some columns.

    Raises:
        UnreadableFileError: damaged, or no Parquet file.
        UserError: it lacks a column.
    """
    with _damage_named(path):
        table = parquet.ParquetFile(path)
    names = table.schema_arrow.names
    if lost := [name for name in columns if name not in names]:
        raise UserError(
            f"{path}: no column {', '.join(map(repr, lost))}: {nearest(lost[0], names)}. "
            "python -m revlm.score makes score tables."
        )
    return table


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UnreadableFileError(
            f"{path}: not a whole Parquet file ({error}): score the corpus again with python -m revlm.score."
        ) from error


def as_numbers(values: pa.Array) -> FloatArray:
    """(n,) float64, null as nan."""
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))


def below(doc_ids: pa.Array, share: float) -> npt.NDArray[np.bool_]:
    """(n,) which documents belong to a subset of about this share; a smaller share is a part of it."""
    return document_hashes(doc_ids.to_pylist()) < np.uint64(min(int(share * 2.0**64), 2**64 - 1))
