"""Several models' score tables read side by side: the same documents from each, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from revlm.errors import UserError
from revlm.scores.columns import HashArray, below, hashes, read_batches


@dataclass
class Join:
    """The documents that all tables hold, in the order in which all tables hold them.

    Attributes:
        tables: by model.
        common: sorted hashes of the ids of those documents; None: every table holds just these.
        num_documents: in all tables.
        dropped: documents of each table that some other lacks.
    """

    tables: Mapping[str, Path]
    common: HashArray | None = field(init=False, default=None)
    num_documents: int = field(init=False)
    dropped: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Read the ids."""
        known = {name: _all_hashes(path) for name, path in self.tables.items()}
        first = next(iter(known.values()))
        if all(np.array_equal(first, other) for other in known.values()):
            self.num_documents, self.dropped = len(first), dict.fromkeys(known, 0)
            return
        self.common = reduce(np.intersect1d, known.values())
        kept = {name: int(_among(ids, self.common).sum()) for name, ids in known.items()}
        self.num_documents = min(kept.values())
        self.dropped = {name: len(ids) - kept[name] for name, ids in known.items()}

    def batches(self, columns: Sequence[str], share: float = 1.0) -> Iterator[list[pa.RecordBatch]]:
        """Rows of the same documents, a batch from each table.

        Args:
            columns: to read, beside doc_id.
            share: of the documents, about; chosen by a hash of doc_id.

        Raises:
            UserError: the tables hold the documents in different orders.
        """
        wanted = list(dict.fromkeys(["doc_id", *columns]))
        streams = [self._kept(path, wanted, share) for path in self.tables.values()]
        waiting: list[pa.RecordBatch | None] = [None] * len(streams)
        while True:
            waiting = [
                next(stream, None) if rows is None or not len(rows) else rows
                for rows, stream in zip(waiting, streams, strict=True)
            ]
            ready = [rows for rows in waiting if rows is not None]
            if not ready:
                return
            size = min(len(rows) for rows in ready)
            parts = [rows.slice(0, size) for rows in ready]
            if len(ready) < len(streams) or any(part["doc_id"] != parts[0]["doc_id"] for part in parts):
                raise UserError(
                    f"{', '.join(map(str, self.tables.values()))}: these tables hold their documents in different "
                    "orders, or one twice: score one corpus with all models."
                )
            yield parts
            waiting = [rows.slice(size) for rows in ready]

    def _kept(self, path: Path, columns: Sequence[str], share: float) -> Iterator[pa.RecordBatch]:
        for batch in read_batches(path, columns):
            mask = np.ones(len(batch), dtype=np.bool_)
            if self.common is not None:
                mask &= _among(hashes(batch["doc_id"]), self.common)
            if share < 1:
                mask &= below(batch["doc_id"], share)
            kept = batch if mask.all() else batch.filter(pa.array(mask))
            if len(kept):
                yield kept


def join_tables(tables: Mapping[str, Path]) -> Join:
    """Several models' tables as one.

    Raises:
        UserError: they hold no document in common.
    """
    join = Join(tables)
    if not join.num_documents:
        raise UserError(
            f"{', '.join(map(str, tables.values()))}: no document is in all of these tables: "
            "score one corpus with all models."
        )
    return join


def _all_hashes(path: Path) -> HashArray:
    parts = [hashes(batch["doc_id"]) for batch in read_batches(path, ["doc_id"])]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)


def _among(ids: HashArray, known: HashArray) -> npt.NDArray[np.bool_]:
    """(n,) which of the ids are in a sorted array."""
    if not len(known):
        return np.zeros(len(ids), dtype=np.bool_)
    found = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.asarray(known[found] == ids)
