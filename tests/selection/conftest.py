"""Score tables of real documents with made-up numbers, and arrays without any documents."""

import numpy as np
import pyarrow as pa
import pytest

from revlm.cache import digest
from revlm.config import CorpusConfig
from revlm.data.order import document_hashes
from revlm.scores.table import SCHEMA, with_metadata, write_table
from revlm.selection.candidates import Candidates

# The corpus of tests/conftest.py, as the command line would name it.
DATA = CorpusConfig(domains=["finance", "bbc_news", "drama"], max_bytes_per_domain=60_000)


@pytest.fixture(scope="session")
def score_rows(corpus):
    """A row of the score table for each document of 20 tokens or more, in the order of the corpus."""
    rows = []
    for document in corpus.dataset:
        num_bytes = len(document["text"].encode())
        random = np.random.default_rng(int(digest(document["doc_id"]), 16))
        forward, s = random.normal(3.5, 0.4), random.normal(0, 0.05)
        rows.append(
            {
                "doc_id": document["doc_id"],
                "domain": document["domain"],
                "language": document["language"],
                "num_tokens": max(1, num_bytes // 4),
                "num_bytes": num_bytes,
                "nll_forward": forward,
                "nll_reverse": forward - s,
                "s": s,
                "intersection": None,
                "s_without_first": s / 2,
                "bits_per_byte_forward": forward / 2.8,
                "bits_per_byte_reverse": (forward - s) / 2.8,
                "compression_ratio": random.uniform(0.3, 0.6),
            }
        )
    return [row for row in rows if row["num_tokens"] >= 20]


@pytest.fixture
def write_scores(corpus, tmp_path):
    """Write rows as a score table, which says what corpus it was made from."""

    def write(rows, name="scores.parquet", **facts):
        facts = {"model": "made up", "corpus_fingerprint": corpus.fingerprint} | facts
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        write_table(tmp_path / name, table.to_batches(), with_metadata(SCHEMA, facts))
        return tmp_path / name

    return write


def make_scores(values, *, domains=None, num_tokens=None, ids=None, order=None):
    """Candidates of invented documents; `order` permutes what is given before it is sorted by hash."""
    size = len(values)
    ids = np.array(ids if ids is not None else [f"document {n}" for n in range(size)])
    domains = np.array(domains if domains is not None else ["all"] * size)
    num_tokens = np.array(num_tokens if num_tokens is not None else [1] * size, dtype=np.int64)
    values = np.array(values, dtype=np.float64)
    if order is not None:
        ids, domains, num_tokens, values = (column[order] for column in (ids, domains, num_tokens, values))
    hashes = document_hashes(ids.tolist())
    names = tuple(sorted(set(domains.tolist())))
    codes = np.array([names.index(domain) for domain in domains], dtype=np.int32)
    rows = np.argsort(hashes)
    return Candidates(
        hashes[rows], codes[rows], names, num_tokens[rows], values[rows], values[rows], values[rows] + 3
    )


def taken_ids(scores, chosen, ids):
    """Which of the ids were chosen."""
    rows = scores.find(ids)
    return {doc_id for doc_id, row in zip(ids, rows, strict=True) if chosen[row]}
