"""Score tables of several models as one: means, spread, and z-scores that compare between models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from revlm.measures.crossing import domain_label
from revlm.scores.aligned import Join
from revlm.scores.columns import Codes, FloatArray, Moments, as_numbers, read_batches
from revlm.scores.table import SCHEMA, with_metadata, write_table

# Columns that follow from the text alone, and the token count, are the first model's.
FIRST = (
    "doc_id", "domain", "language", "label", "num_tokens", "num_bytes", "compression_ratio", "type_token_ratio",
    "repeated_ngrams",
)  # fmt: skip
AVERAGED = (
    "nll_forward", "nll_reverse", "s", "s_without_first", "bits_per_byte_forward", "bits_per_byte_reverse",
)  # fmt: skip
COMBINED_SCHEMA = pa.schema(
    [
        *SCHEMA,
        # Over models: sample standard deviation of s; null for one model.
        ("s_std", pa.float64()),
        # Mean over models of the z-score of s within its domain (sample standard deviation): comparable
        # between tokenizers and sizes. Null where a domain has one document, or one value of s.
        ("s_z", pa.float64()),
        # Over models: sample standard deviation of those z-scores.
        ("s_z_std", pa.float64()),
        ("num_models", pa.int64()),
    ]
)
SUMMED = ("domain", "num_tokens", "nll_forward", "nll_reverse", "s")


def combine(tables: Mapping[str, Path], out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """One table out of several models', read and written in batches.

    What follows from the text or the tokens alone is the first model's; the crossing is the median over
    models, the later one of an even number, where never counts as later than all.

    Args:
        tables: model -> its score table; of the same documents in the same order.
        out: the table to write.
        facts: what it says about itself, beside its models.

    Returns:
        num_documents, and `dropped`: by model, documents that another did not score.

    Raises:
        UserError: the tables hold no document in common, or hold them in different orders.
    """
    join = Join(tables)
    domains, moments = Codes(), [Moments() for _ in tables]
    for batches in join.batches(["domain", "s"]):
        groups = domains.encode(batches[0]["domain"])
        for model, batch in zip(moments, batches, strict=True):
            model.add(groups, as_numbers(batch["s"]))
    counts = {"num_documents": join.num_documents, "dropped": join.dropped}
    about = facts | counts | {"models": list(tables), "num_tokens_of": next(iter(tables))}
    rows = (_combined(batches, domains, moments) for batches in join.batches(SCHEMA.names))
    write_table(out, rows, with_metadata(COMBINED_SCHEMA, about))
    return counts


def table_means(table: Path) -> dict[str, Any]:
    """Means of a table as a summary has them: losses over tokens, s over documents."""
    domains = Codes()
    sums = np.zeros((0, len(SUMMED)))
    for batch in read_batches(table, ["domain", *SUMMED[1:]]):
        groups = domains.encode(batch["domain"])
        tokens, forward, reverse, s = (as_numbers(batch[name]) for name in SUMMED[1:])
        sums = np.pad(sums, ((0, len(domains.names) - len(sums)), (0, 0)))
        np.add.at(sums, groups, np.stack([np.ones_like(s), tokens, forward * tokens, reverse * tokens, s], 1))
    by_domain = {
        domain_label(name): _mean(row) for name, row in sorted(zip(domains.names, sums, strict=True))
    }
    return _mean(sums.sum(axis=0)) | {"by_domain": by_domain}


def _mean(sums: FloatArray) -> dict[str, Any]:
    documents, tokens, forward, reverse, s = sums.tolist()
    return {
        "num_documents": int(documents),
        "num_tokens": int(tokens),
        "nll_forward": forward / tokens,
        "nll_reverse": reverse / tokens,
        "s": s / documents,
    }


def _combined(batches: Sequence[pa.RecordBatch], domains: Codes, moments: list[Moments]) -> pa.RecordBatch:
    """Rows of the combined table out of the same rows of every model's."""
    groups = domains.encode(batches[0]["domain"])
    read = {name: [as_numbers(batch[name]) for batch in batches] for name in (*AVERAGED, "intersection")}
    scores = np.stack(read["s"])
    z = np.stack([model.zscores(groups, s) for model, s in zip(moments, scores, strict=True)])
    numbers = {name: np.mean(read[name], axis=0) for name in AVERAGED} | {
        # nan, for never, is sorted behind all numbers.
        "intersection": np.sort(read["intersection"], axis=0)[len(batches) // 2],
        "s_std": _spread(scores),
        "s_z": z.mean(axis=0),
        "s_z_std": _spread(z),
        "num_models": np.full(len(groups), len(batches)),
    }
    columns = {name: batches[0][name] for name in FIRST}
    for name, values in numbers.items():
        columns[name] = pa.array(values, COMBINED_SCHEMA.field(name).type, from_pandas=True)
    return pa.RecordBatch.from_pydict(columns, COMBINED_SCHEMA)


def _spread(values: FloatArray) -> FloatArray:
    """(n,) sample standard deviation over models (M, n); nan for one model."""
    if len(values) == 1:
        return np.full(values.shape[1], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))
