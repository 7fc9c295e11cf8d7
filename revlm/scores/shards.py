"""A scoring run as shards: each a stretch of the corpus, complete or absent, scored by anyone.

A shard's Parquet file is written first and its marker (rows and checksum) after it, so a kill
leaves either a finished shard or nothing. Which documents form a shard, and their batches, follow
from the corpus and the options alone: who scores a shard, and in how many sittings, changes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pyarrow import parquet
from tqdm import tqdm

from revlm.cache import file_hash, write_atomically
from revlm.config import ScoreConfig
from revlm.errors import UserError
from revlm.measures.document_scores import document_scores
from revlm.measures.scoring import TokenLosses
from revlm.measures.text_statistics import compression_ratio, repeated_ngrams, type_token_ratio
from revlm.progress import track
from revlm.scores.opened import Opened
from revlm.scores.table import SCHEMA, write_table

# Raise it when the same model and corpus would give other numbers.
CODE_VERSION = 2
# Kept until the merge: curves need every token's losses.
TOKEN_COLUMNS = [
    ("token_id", pa.list_(pa.int32())),
    ("token_nll_forward", pa.list_(pa.float32())),
    ("token_nll_reverse", pa.list_(pa.float32())),
    ("position_forward", pa.list_(pa.int32())),
    ("position_reverse", pa.list_(pa.int32())),
]
SHARD_SCHEMA = pa.schema([*SCHEMA, *(pa.field(name, kind) for name, kind in TOKEN_COLUMNS)])


@dataclass(frozen=True)
class Job:
    """What a worker must know: plain values, which any executor can carry to another machine.

    Attributes:
        config: of the command.
        forward, reverse: models by name or path; reverse None: one model reads both ways.
        folder: of the run.
    """

    config: ScoreConfig
    forward: str
    reverse: str | None
    folder: Path


class ShardedScores:
    """One model, or a pair, over one corpus, opened as `Opened.open` says: its shards, done and to do."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.opened = Opened.open(job.config, job.forward, job.reverse, shortest="min_tokens")
        self.bounds = shard_bounds(self.opened.lengths, job.config.shard_tokens)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def folder(self) -> Path:
        """Where shards lie until they are merged."""
        return self.job.folder / "shards"

    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers, by the name an error gives it."""
        config, facts = self.job.config, self.opened.facts
        return {
            "model": facts["model_fingerprint"],
            "reverse model": facts["reverse_model_fingerprint"],
            "tokenizer": facts["tokenizer_fingerprint"],
            "corpus": facts["corpus_fingerprint"],
            "window": facts["window"],
            "min_tokens": config.min_tokens,
            "tokens": config.tokens,
            "shard_tokens": config.shard_tokens,
            "batch_tokens": self.opened.scorer.batch_tokens,
            "curves": asdict(config.curves),
            "precision": facts["precision"],
            "version of the scorer": CODE_VERSION,
        }

    def num_tokens(self, shard: int) -> int:
        """Tokens of a shard, each counted once."""
        return int(self.opened.store.lengths[self._documents(shard)].sum())

    def is_complete(self, shard: int) -> bool:
        """Whether a shard is there as its marker describes it; one that is damaged is named."""
        marker, path = self._marker(shard), self.path(shard)
        if not marker.exists():
            return False
        with suppress(OSError, ValueError, KeyError):
            said = json.loads(marker.read_text())
            if said["rows"] == len(self._documents(shard)) and said["sha256"] == file_hash(path):
                return True
        print(f"{path} is damaged: it is scored again.", file=sys.stderr, flush=True)
        marker.unlink(missing_ok=True)
        return False

    def missing(self) -> list[int]:
        """Shards that are still to be scored."""
        return [shard for shard in range(len(self)) if not self.is_complete(shard)]

    def score(self, shard: int, on_tokens: Callable[[int], object] = lambda _: None) -> None:
        """Score a shard and write it, then its marker."""
        documents, store = self._documents(shard), self.opened.store
        ids = store.take(documents)
        rows = self.opened.corpus.dataset[store.rows[documents].tolist()]
        losses = self.opened.scorer.token_losses(ids, rows["doc_id"], on_tokens=on_tokens)
        texts = [text.encode() for text in rows["text"]]
        columns = rows | document_scores(losses, [len(text) for text in texts], self.job.config.curves)
        columns["compression_ratio"] = [compression_ratio(text) for text in texts]
        bodies = [ids.document(index) for index in range(len(ids))]
        columns["type_token_ratio"] = [type_token_ratio(body) for body in bodies]
        columns["repeated_ngrams"] = [repeated_ngrams(body) for body in bodies]
        columns |= _token_columns(ids.ids, losses)
        batch = pa.RecordBatch.from_pydict(columns, SHARD_SCHEMA)
        count = write_table(self.path(shard), [batch], SHARD_SCHEMA)
        marker = {"rows": count, "tokens": int(losses.offsets[-1]), "sha256": file_hash(self.path(shard))}
        write_atomically(self._marker(shard), json.dumps(marker) + "\n")

    def batches(self) -> Iterable[tuple[npt.NDArray[np.int64], pa.RecordBatch]]:
        """Every shard's rows in the order of the corpus, with their documents' numbers in it."""
        for shard in range(len(self)):
            table = parquet.read_table(self.path(shard), schema=SHARD_SCHEMA)
            yield self._documents(shard), table.combine_chunks().to_batches()[0]

    def path(self, shard: int) -> Path:
        """The Parquet file of a shard."""
        return self.folder / f"{shard:06d}.parquet"

    def tokens_done(self) -> int:
        """Tokens of the shards that have a marker; cheap enough to ask every second."""
        return sum(self.num_tokens(int(path.stem)) for path in self.folder.glob("*.json"))

    def _marker(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.json"

    def _documents(self, shard: int) -> npt.NDArray[np.int64]:
        return self.opened.documents[self.bounds[shard] : self.bounds[shard + 1]]


def shard_bounds(lengths: npt.NDArray[np.int64], shard_tokens: int) -> npt.NDArray[np.int64]:
    """(K + 1,) where shards begin among the documents: each ends once it holds `shard_tokens`."""
    shard = (np.cumsum(lengths) - lengths) // shard_tokens
    return np.append(np.flatnonzero(np.diff(shard, prepend=-1)), len(lengths))


def check_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Remember what a run is made of, or refuse to go on with something else.

    Raises:
        UserError: the first part that has changed.
    """
    path = folder / "identity.json"
    if not path.exists():
        write_atomically(path, json.dumps(identity, indent=2) + "\n")
        return
    begun = json.loads(path.read_text())
    for name, value in identity.items():
        if begun.get(name) != value:
            raise UserError(
                f"{folder} was begun with another {name} ({begun.get(name)} then, {value} now): "
                "give the same to continue it, or choose another run.dir=."
            )


def score_shards(job: Job, shards: Sequence[int], threads: int) -> None:
    """One worker's part of the shards; those that an earlier sitting finished are left alone."""
    torch.set_num_threads(threads)
    scores = ShardedScores(job)
    for shard in shards:
        if not scores.is_complete(shard):
            scores.score(shard)


def score_here(scores: ShardedScores, shards: Sequence[int]) -> None:
    """Score shards in this process, with progress by batch."""
    with progress(scores) as bar:
        for shard in shards:
            scores.score(shard, on_tokens=bar.update)


def progress(scores: ShardedScores) -> tqdm:
    """Progress in tokens read, each direction counted."""
    total = 2 * int(scores.opened.lengths.sum())
    return track("scoring", total, "tokens", done=2 * scores.tokens_done(), lines=True)


def _token_columns(ids: npt.NDArray[np.integer], losses: TokenLosses) -> dict[str, pa.Array]:
    values = (ids.astype(np.int32), *losses.nll.astype(np.float32, copy=False), *losses.position)
    lists = [pa.ListArray.from_arrays(pa.array(losses.offsets, pa.int32()), flat) for flat in values]
    return dict(zip(dict(TOKEN_COLUMNS), lists, strict=True))
