"""Several models' score tables read side by side: the same documents from each, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from revlm.data.order import HashArray, document_hashes
from revlm.errors import UserError
from revlm.scores.columns import below, read_batches


@dataclass
class Join:
    """The documents that all of several models' tables hold, in the order in which all tables hold them.

    Raises:
        UserError: they hold no document in common.

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
        known = {name: _all_hashes(path) for name, path in self.tables.items()}
        first = next(iter(known.values()))
        if all(np.array_equal(first, other) for other in known.values()):
            kept = {name: len(ids) for name, ids in known.items()}
        else:
            self.common = reduce(np.intersect1d, known.values())
            kept = {name: int(_among(ids, self.common).sum()) for name, ids in known.items()}
        self.num_documents = min(kept.values())
        self.dropped = {name: len(ids) - kept[name] for name, ids in known.items()}
        if not self.num_documents:
            raise UserError(
                f"{', '.join(map(str, self.tables.values()))}: no document is in all of these tables: "
                "score one corpus with all models."
            )

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
                mask &= _among(document_hashes(batch["doc_id"].to_pylist()), self.common)
            if share < 1:
                mask &= below(batch["doc_id"], share)
            kept = batch if mask.all() else batch.filter(pa.array(mask))
            if len(kept):
                yield kept


def _all_hashes(path: Path) -> HashArray:
    parts = [document_hashes(batch["doc_id"].to_pylist()) for batch in read_batches(path, ["doc_id"])]
    return np.concatenate([document_hashes([]), *parts])


def _among(ids: HashArray, known: HashArray) -> npt.NDArray[np.bool_]:
    """(n,) which of the ids are in a sorted array."""
    if not len(known):
        return np.zeros(len(ids), dtype=np.bool_)
    found = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.asarray(known[found] == ids)
