"""The score table: one row a document, in the order of the corpus, as Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from revlm.cache import atomic_path
from revlm.errors import UserError
from revlm.paths import matches

SCORES = "scores.parquet"
# Written last: a folder that holds it is a finished scoring run.
SUMMARY = "score.json"
# A run of several models keeps each one's folder in here.
MODELS = "models"
# Of a comparison at equal context; its summary is written last as well.
CONTEXTS, CONTEXTS_SUMMARY = "contexts.parquet", "contexts.json"
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("domain", pa.string()),
        ("language", pa.string()),
        ("num_tokens", pa.int64()),
        ("num_bytes", pa.int64()),
        # Nats per token over all windows of the document.
        ("nll_forward", pa.float64()),
        ("nll_reverse", pa.float64()),
        # nll_forward - nll_reverse: above 0, reverse is easier.
        ("s", pa.float64()),
        # Position where the document's own smoothed curves cross; null: never.
        ("intersection", pa.int64()),
        # s over the tokens that are read with something before them; null: there are none.
        ("s_without_first", pa.float64()),
        # Total nll in bits over UTF-8 bytes: comparable between tokenizers.
        ("bits_per_byte_forward", pa.float64()),
        ("bits_per_byte_reverse", pa.float64()),
        # Compressed over plain bytes (zlib, level 6): low where text repeats itself.
        ("compression_ratio", pa.float64()),
        # Different tokens over tokens; share of runs of three tokens that occurred before.
        ("type_token_ratio", pa.float64()),
        ("repeated_ngrams", pa.float64()),
        # Of the corpus, where it has one: what is known of the document's quality.
        ("label", pa.string()),
    ]
)
METADATA = b"revlm"
ROW_GROUP = 65_536


def write_table(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Write record batches as one Parquet file, whole or not at all; returns its rows.

    Rows are regrouped, so equal rows in equal order are equal bytes, however they were batched.
    """
    count, waiting, held = 0, list[pa.RecordBatch](), 0
    with parquet_writer(path, schema) as writer:
        for batch in batches:
            waiting.append(batch)
            count, held = count + len(batch), held + len(batch)
            while held >= ROW_GROUP:
                rows = pa.Table.from_batches(waiting, schema)
                writer.write_table(rows.slice(0, ROW_GROUP).combine_chunks())
                waiting, held = rows.slice(ROW_GROUP).to_batches(), held - ROW_GROUP
        if held:
            writer.write_table(pa.Table.from_batches(waiting, schema).combine_chunks())
    return count


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[parquet.ParquetWriter]:
    """A writer of a Parquet file that is there whole once the block has ended well, and else not at all."""
    # A dictionary of losses, of which none occurs twice, takes memory and makes the file larger.
    lists = [field for field in schema if pa.types.is_list(field.type)]
    losses = {field.name for field in lists if pa.types.is_floating(field.type.value_type)}
    paths = [f"{field.name}.list.element" if field in lists else field.name for field in schema]
    repeated = [path for path in paths if path.partition(".")[0] not in losses] if losses else True
    with (
        atomic_path(path) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=repeated) as writer,
    ):
        yield writer


def with_metadata(schema: pa.Schema, facts: dict[str, Any]) -> pa.Schema:
    """A schema that carries facts about its table."""
    return schema.with_metadata({METADATA: json.dumps(facts, sort_keys=True).encode()})


def metadata(schema: pa.Schema) -> dict[str, Any]:
    """The facts that `with_metadata` stored; empty for tables of other origin."""
    stored = (schema.metadata or {}).get(METADATA)
    return dict(json.loads(stored)) if stored else {}


def find_tables(scores: str) -> list[Path]:
    """The tables that `scores=` stands for, sorted by name.

    Args:
        scores: a Parquet file, the folder of a scoring run, or a glob.

    Raises:
        UserError: there is none.
    """
    path = Path(scores)
    if (path / SCORES).is_file():
        return [path / SCORES]
    if path.is_file():
        return [path]
    found = [] if path.is_dir() else matches(path)[1]
    if not found:
        raise UserError(
            f"scores={scores}: there is no score table: give scores.parquet, the folder of a scoring run or a "
            "glob; python -m revlm.score makes one."
        )
    return found
