"""Score tables as arrays: what a choice needs, some 50 bytes a document, and never a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from revlm.data.document import nearest
from revlm.data.order import HashArray, document_hashes
from revlm.errors import UnreadableFileError, UserError
from revlm.scores.columns import Codes, FloatArray, as_numbers, open_table, read_batches
from revlm.scores.table import metadata

RowArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NEEDED = ("doc_id", "domain", "num_tokens", "s", "nll_forward")


@dataclass(frozen=True)
class Candidates:
    """N documents that a rule can choose from, in the order of their hashes: no order of tables or rows matters.

    Attributes:
        hashes: (N,) ascending, of doc_id (`document_hashes`).
        domains: (N,) int32, index into `names`.
        names: the domains, sorted.
        num_tokens: (N,) int64, 1 or more.
        values: (N,) what the rule goes by; zeros for a rule that goes by none.
        s: (N,) nll_forward - nll_reverse; NaN where the table has none.
        nll_forward: (N,) nats per token; NaN where the table has none.
    """

    hashes: HashArray
    domains: npt.NDArray[np.int32]
    names: tuple[str, ...]
    num_tokens: RowArray
    values: FloatArray
    s: FloatArray
    nll_forward: FloatArray

    def __len__(self) -> int:
        return len(self.hashes)

    def groups(self) -> list[RowArray]:
        """The rows of each domain, in the order of `names`."""
        ends = np.cumsum(np.bincount(self.domains, minlength=len(self.names)))
        return np.split(np.argsort(self.domains, kind="stable"), ends[:-1])

    def tokens_by_domain(self, chosen: Mask | None = None) -> RowArray:
        """(names,) tokens of each domain, of all documents or of chosen ones."""
        rows = slice(None) if chosen is None else chosen
        return np.bincount(self.domains[rows], self.num_tokens[rows], len(self.names)).astype(np.int64)

    def find(self, doc_ids: Sequence[str]) -> RowArray:
        """(len(doc_ids),) the row of each document, -1 for one without a score."""
        wanted = document_hashes(doc_ids)
        rows = np.minimum(np.searchsorted(self.hashes, wanted), len(self) - 1)
        return np.where(self.hashes[rows] == wanted, rows, -1)


@dataclass(frozen=True)
class CandidateTables:
    """Score tables read together.

    Attributes:
        candidates: their documents.
        paths: the tables that were read.
        facts: what each of them says about itself; see `revlm.scores.table.metadata`.
        damaged: why the others were not read, a line each.
    """

    candidates: Candidates
    paths: list[Path]
    facts: list[dict[str, Any]]
    damaged: dict[Path, str]


def read_tables(paths: Sequence[Path], column: str | None) -> CandidateTables:
    """Read score tables in batches and keep numbers alone.

    A damaged table is left out as a whole and named in `damaged`; the others are read.

    Args:
        paths: Parquet files with the columns of `revlm.scores.table.SCHEMA`, in any order.
        column: the number that the rule goes by; None for none.

    Raises:
        UserError: no table can be read, none has a row, a column is missing or not numeric, a needed
            number is null or not finite, or a document occurs twice.
    """
    codes = Codes()
    parts, read, facts, damaged = [], [], [], dict[Path, str]()
    for path in paths:
        try:
            with open_table(path, _NEEDED) as table:
                schema = table.schema_arrow
            _check_number(path, schema, column)
            batches = list(_batches(path, column, codes))
        except UnreadableFileError as error:
            damaged[path] = str(error)
            continue
        parts += batches
        read.append(path)
        facts.append(metadata(schema))
    if not read:
        raise UserError(next(iter(damaged.values())))
    if not parts:
        raise UserError(f"{read[0]}: there is no document in this score table: score a corpus first.")
    candidates = _sorted(parts, codes, column)
    _check_distinct(candidates.hashes, read)
    return CandidateTables(candidates, read, facts, damaged)


def find_ids(paths: Sequence[Path], hashes: HashArray) -> list[tuple[Path, str]]:
    """The documents behind hashes and where they stand, read again because only hashes are kept."""
    found = []
    for path in paths:
        for batch in read_batches(path, ["doc_id"]):
            ids = batch["doc_id"].to_pylist()
            met = np.flatnonzero(np.isin(document_hashes(ids), hashes))
            found += [(path, ids[row]) for row in met]
    return found


def _check_number(path: Path, schema: pa.Schema, column: str | None) -> None:
    number = pa.types.is_integer, pa.types.is_floating
    numeric = [field.name for field in schema if any(is_number(field.type) for is_number in number)]
    if column is not None and column not in numeric:
        raise UserError(f"column={column}: {path} has no such number: {nearest(column, numeric)}")


def _batches(path: Path, column: str | None, codes: Codes) -> Iterator[dict[str, npt.NDArray[Any]]]:
    # Each column once: `column` may be one of the needed ones.
    columns = list(dict.fromkeys((*_NEEDED, *((column,) if column else ()))))
    for batch in read_batches(path, columns):
        ids = batch["doc_id"].cast(pa.string()).to_pylist()
        if batch["doc_id"].null_count or batch["domain"].null_count:
            raise UserError(f"{path}: a row without doc_id or domain: every document needs both.")
        numbers = {name: as_numbers(batch[name]) for name in columns if name not in ("doc_id", "domain")}
        for name in ("num_tokens", column):
            if name is not None and not np.isfinite(numbers[name]).all():
                first = ids[int(np.argmin(np.isfinite(numbers[name])))]
                raise UserError(
                    f"{path}: doc_id {first!r} has no {name} (null or not finite): "
                    "leave such documents out of the table, or choose another column=."
                )
        if (numbers["num_tokens"] < 1).any():
            first = ids[int(np.argmax(numbers["num_tokens"] < 1))]
            raise UserError(f"{path}: doc_id {first!r} has num_tokens below 1: leave it out of the table.")
        yield {
            "hashes": document_hashes(ids),
            "domains": codes.encode(batch["domain"]).astype(np.int32),
            "num_tokens": numbers.pop("num_tokens").astype(np.int64),
            **numbers,
        }


def _sorted(parts: list[dict[str, npt.NDArray[Any]]], codes: Codes, column: str | None) -> Candidates:
    names = tuple(sorted(codes.names))
    # Codes were given in the order of meeting; names are sorted.
    rank = np.searchsorted(names, codes.names).astype(np.int32)
    hashes = np.concatenate([part.pop("hashes") for part in parts])
    order = np.argsort(hashes, kind="stable")
    # Popped, so that no column is kept twice.
    columns = {name: np.concatenate([part.pop(name) for part in parts])[order] for name in list(parts[0])}
    values = np.zeros(len(order)) if column is None else columns[column].astype(np.float64, copy=False)
    domains = rank[columns["domains"]]
    return Candidates(
        hashes[order], domains, names, columns["num_tokens"], values, columns["s"], columns["nll_forward"]
    )


def _check_distinct(hashes: HashArray, paths: Sequence[Path]) -> None:
    twice = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(twice):
        return
    places: dict[str, Path] = {}
    for path, doc_id in find_ids(paths, twice):
        if doc_id in places:
            raise UserError(
                f"doc_id {doc_id!r} occurs twice, in {places[doc_id]} and in {path}: "
                "give each document's scores once (scores= of one model and one corpus)."
            )
        places[doc_id] = path
    raise UserError(f"{' and '.join(map(repr, places))} share a 64-bit hash: rename one of these documents.")
