"""A corpus's tokens with k tokens on their left and on their right: the run's files, the summary last."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from revlm.cache import write_atomically
from revlm.config import ContextsConfig
from revlm.errors import UserError
from revlm.markup import csv_text
from revlm.measures.crossing import ALL, domain_label
from revlm.measures.sliding import ContextSums, Sliding, context_sums
from revlm.models.language_model import arm_and_seed
from revlm.progress import track
from revlm.scores.columns import Codes, FloatArray, IntArray
from revlm.scores.opened import Opened
from revlm.scores.shards import shard_bounds
from revlm.scores.table import CONTEXTS, CONTEXTS_SUMMARY, with_metadata, write_table
from revlm.statistics.bootstrap import RESAMPLES, ratio_effect

# Raise it when the same model and corpus would give other numbers.
CODE_VERSION = 1
MEANS = "contexts.csv"
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("domain", pa.string()),
        ("language", pa.string()),
        # k: tokens on the left of a token forward, on its right in reverse.
        ("context", pa.int64()),
        # Of the document that are read with both; the means are over them.
        ("num_tokens", pa.int64()),
        ("nll_forward", pa.float64()),
        ("nll_reverse", pa.float64()),
    ]
)
COLUMNS = (
    "domain", "context", "nll_forward", "nll_reverse", "difference", "low", "high", "num_documents", "num_tokens",
)  # fmt: skip
# Tokens of windows behind the documents whose sums are held at once.
CHUNK_TOKENS = 1 << 22


@dataclass(frozen=True)
class Comparison:
    """A model, or a pair, over one corpus.

    Attributes:
        sliding: windows and context lengths.
        opened: model and corpus; documents that hold a window are read.
    """

    sliding: Sliding
    opened: Opened

    @classmethod
    def open(cls, config: ContextsConfig, forward: str, reverse: str | None) -> Comparison:
        """Open model and corpus; see `Opened.open`.

        Raises:
            UserError: the window and the stride do not pair up.
        """
        sliding = Sliding.checked(config.window, config.stride)
        return cls(sliding, Opened.open(config, forward, reverse, shortest="window"))

    def about(self) -> dict[str, Any]:
        """What the numbers follow from; equal for runs that would give equal numbers."""
        own = {"stride": self.sliding.stride, "resamples": RESAMPLES, "code_version": CODE_VERSION}
        return self.opened.facts | own

    @property
    def num_read(self) -> int:
        """Tokens to read, each window and direction counted."""
        return 2 * self.sliding.window * int(self.sliding.counts(self.opened.lengths).sum())

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Rows of the table, some documents at a time."""
        opened = self.opened
        sizes = self.sliding.window * self.sliding.counts(opened.lengths)
        bounds = shard_bounds(sizes, CHUNK_TOKENS)
        columns = opened.corpus.dataset.select_columns(["doc_id", "domain", "language"])
        with track("contexts", self.num_read, "tokens", lines=True) as bar:
            for at, end in itertools.pairwise(bounds):
                documents = opened.documents[at:end]
                about = columns[opened.store.rows[documents].tolist()]
                ids = opened.store.take(documents)
                sums = context_sums(opened.scorer, ids, about["doc_id"], self.sliding, on_tokens=bar.update)
                yield _batch(about, sums, self.sliding.contexts)


def compare_contexts(comparison: Comparison, folder: Path, facts: Mapping[str, Any]) -> bool:
    """Write contexts.parquet, contexts.csv and, last, contexts.json; a finished folder is left as it is.

    The summary holds the facts as well: options, versions and the like.

    Returns:
        Whether there was anything to do.

    Raises:
        UserError: the folder is finished and holds something else.
    """
    about = comparison.about()
    if (folder / CONTEXTS_SUMMARY).is_file():
        _check_same(folder, about)
        return False
    started = time.perf_counter()
    write_table(folder / CONTEXTS, comparison.rows(), with_metadata(SCHEMA, about))
    seconds = time.perf_counter() - started
    whole, by_domain = context_means(folder / CONTEXTS)
    write_atomically(folder / MEANS, csv_text(COLUMNS, whole + by_domain))
    summary = {
        **about,
        **arm_and_seed(comparison.opened.scorer.models),
        "num_documents": len(comparison.opened.documents),
        **comparison.opened.left_out(),
        "contexts": [{key: row[key] for key in COLUMNS[1:]} for row in whole],
        "seconds": seconds,
        "tokens_per_second": comparison.num_read / seconds,
        **facts,
    }
    write_atomically(folder / CONTEXTS_SUMMARY, json.dumps(summary, indent=2) + "\n")
    return True


def context_means(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Means over tokens by context length, and their difference with its interval over documents.

    Context by context, so that of a large corpus one context's column of documents is held.

    Args:
        path: contexts.parquet.

    Returns:
        Rows of the whole corpus (domain `all`), and of each domain by name.
    """
    contexts = np.unique(parquet.read_table(path, columns=["context"])["context"].to_numpy()).tolist()
    columns = ["domain", "num_tokens", "nll_forward", "nll_reverse"]
    whole, by_domain = list[dict[str, Any]](), list[dict[str, Any]]()
    for context in contexts:
        table = parquet.read_table(path, columns=columns, filters=[("context", "==", context)])
        codes = Codes()
        domain = codes.encode(table["domain"].combine_chunks())
        tokens, forward, reverse = (table[name].to_numpy() for name in columns[1:])
        sums = np.stack([forward * tokens, reverse * tokens, tokens], axis=1)
        whole.append(_row(ALL, context, sums))
        by_domain += [
            _row(domain_label(name), context, sums[domain == code]) for code, name in enumerate(codes.names)
        ]
    return whole, sorted(by_domain, key=itemgetter("domain"))


def _row(domain: str, context: int, sums: FloatArray) -> dict[str, Any]:
    """A row from (n, 3) documents' summed nats forward and in reverse, and tokens."""
    forward, reverse, tokens = sums.sum(axis=0).tolist()
    effect = ratio_effect(np.stack([sums[:, 0] - sums[:, 1], sums[:, 2]], axis=1))
    return {
        "domain": domain,
        "context": context,
        "nll_forward": forward / tokens,
        "nll_reverse": reverse / tokens,
        "difference": effect.value,
        "low": effect.low,
        "high": effect.high,
        "num_documents": effect.n,
        "num_tokens": int(tokens),
    }


def _batch(about: Mapping[str, list[str]], sums: ContextSums, contexts: IntArray) -> pa.RecordBatch:
    """Rows of some documents, one for each context length that has tokens."""
    doc, at = np.nonzero(sums.num_tokens)
    tokens = sums.num_tokens[doc, at]
    forward, reverse = sums.nll[:, doc, at] / tokens
    columns: dict[str, Any] = {name: [about[name][d] for d in doc] for name in SCHEMA.names[:3]}
    columns |= {"context": contexts[at], "num_tokens": tokens, "nll_forward": forward, "nll_reverse": reverse}
    return pa.RecordBatch.from_pydict(columns, SCHEMA)


def _check_same(folder: Path, about: Mapping[str, Any]) -> None:
    path = folder / CONTEXTS_SUMMARY
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}): remove it and start again.") from error
    for name, value in about.items():
        if said.get(name) != value:
            raise UserError(
                f"{folder} holds a comparison with another {name} ({said.get(name)} there, {value} now): "
                "choose another run.dir=."
            )
