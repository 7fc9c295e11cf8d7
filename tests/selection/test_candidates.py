"""Reading score tables, and every way in which they go wrong."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from revlm.data.order import document_hashes
from revlm.errors import UserError
from revlm.scores.table import SCHEMA, write_table
from revlm.selection.candidates import read_tables
from revlm.selection.scored_corpus import join


def refusal(action):
    with pytest.raises(UserError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def changed(rows, place, **values):
    return [row | values if number == place else row for number, row in enumerate(rows)]


def test_numbers_come_back_beside_their_documents(score_rows, write_scores):
    """Every document's numbers and domain are found again by its id, from the column that was asked for."""
    scores = read_tables([write_scores(score_rows)], "compression_ratio").candidates
    rows = scores.find([row["doc_id"] for row in score_rows])
    for name, column in (
        ("s", scores.s),
        ("nll_forward", scores.nll_forward),
        ("num_tokens", scores.num_tokens),
    ):
        assert column[rows].tolist() == [row[name] for row in score_rows]
    assert scores.values[rows].tolist() == [row["compression_ratio"] for row in score_rows]
    assert [scores.names[code] for code in scores.domains[rows]] == [row["domain"] for row in score_rows]
    assert scores.find(["unknown"]).tolist() == [-1]


def test_neither_rows_nor_tables_have_an_order(score_rows, write_scores):
    """Shards in any order, rows in any order: the same arrays."""
    whole = read_tables([write_scores(score_rows)], "s").candidates
    shards = [
        write_scores(score_rows[100:][::-1], "a.parquet"),
        write_scores(score_rows[:100], "b.parquet"),
    ]
    for paths in (shards, shards[::-1]):
        parts = read_tables(paths, "s").candidates
        assert parts.names == whole.names
        for name in ("hashes", "domains", "num_tokens", "values", "s", "nll_forward"):
            assert (getattr(parts, name) == getattr(whole, name)).all()


def test_documents_are_known_by_the_hashes_of_training(score_rows, write_scores):
    """One document has one hash in all of revlm."""
    hashes = read_tables([write_scores(score_rows)], "s").candidates.hashes
    assert hashes.tolist() == sorted(document_hashes(row["doc_id"] for row in score_rows).tolist())


def test_a_missing_column_is_named(score_rows, write_scores, tmp_path):
    """The column, the nearest that is there, and the command that makes score tables."""
    table = parquet.read_table(write_scores(score_rows)).rename_columns({"num_tokens": "tokens"})
    parquet.write_table(table, tmp_path / "other.parquet")
    message = refusal(lambda: read_tables([tmp_path / "other.parquet"], "s"))
    assert "no column 'num_tokens'" in message
    assert "python -m revlm.score" in message


@pytest.mark.parametrize("column", ["nll_foward", "domain"])
def test_an_unknown_column_is_answered_with_the_nearest(score_rows, write_scores, column):
    """Misspelt or no number: the message lists what there is."""
    message = refusal(lambda: read_tables([write_scores(score_rows)], column))
    assert message.startswith(f"column={column}: ")
    assert "nll_forward" in message
    assert ("did you mean 'nll_forward'?" in message) == (column == "nll_foward")


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")], ids=str)
def test_a_missing_number_names_its_first_document(score_rows, write_scores, value):
    """Only in the column that is needed: elsewhere a gap does no harm."""
    rows = changed(changed(score_rows, 7, compression_ratio=value), 9, compression_ratio=value)
    path = write_scores(rows)
    message = refusal(lambda: read_tables([path], "compression_ratio"))
    assert f"doc_id {rows[7]['doc_id']!r} has no compression_ratio" in message
    assert len(read_tables([path], "s").candidates) == len(rows)


def test_a_document_without_tokens_is_refused(score_rows, write_scores):
    """A size of 0 would fit any budget."""
    path = write_scores(changed(score_rows, 3, num_tokens=0))
    assert f"{score_rows[3]['doc_id']!r} has num_tokens below 1" in refusal(lambda: read_tables([path], "s"))


def test_a_document_that_occurs_twice_is_named_with_both_places(score_rows, write_scores):
    """Whether in one table or in two."""
    paths = [write_scores(score_rows[:60], "a.parquet"), write_scores(score_rows[59:], "b.parquet")]
    message = refusal(lambda: read_tables(paths, "s"))
    assert f"doc_id {score_rows[59]['doc_id']!r} occurs twice, in {paths[0]} and in {paths[1]}" in message


def test_an_empty_table_is_refused(write_scores):
    """There is nothing to choose from."""
    assert "there is no document" in refusal(lambda: read_tables([write_scores([])], "s"))


def test_a_damaged_table_is_left_out_as_a_whole(score_rows, write_scores):
    """The others are read; when none is left, the first is named."""
    good, bad = write_scores(score_rows[:60], "a.parquet"), write_scores(score_rows[60:], "b.parquet")
    bad.write_bytes(bad.read_bytes()[:-200])
    tables = read_tables([good, bad], "s")
    assert len(tables.candidates) == 60
    assert list(tables.damaged) == [bad]
    assert f"{bad}: not a whole Parquet file" in refusal(lambda: read_tables([bad], "s"))


def test_a_table_damaged_in_the_middle_leaves_none_of_its_rows(tmp_path):
    """What could be read before the damage is not mistaken for the whole."""
    size = 200_000
    columns = {
        field.name: [f"d{n}" for n in range(size)] if field.type == pa.string() else np.arange(1, size + 1)
        for field in SCHEMA
    }
    path = tmp_path / "long.parquet"
    write_table(path, pa.table(columns).cast(SCHEMA).to_batches(), SCHEMA)
    data = bytearray(path.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 5000] = bytes(5000)
    path.write_bytes(data)
    assert "not a whole Parquet file" in refusal(lambda: read_tables([path], "s"))


def test_scores_of_another_corpus_are_refused(score_rows, write_scores, corpus):
    """By the fingerprint that the table carries: both are named."""
    tables = read_tables([write_scores(score_rows, corpus_fingerprint="other")], "s")
    message = refusal(lambda: join(tables, corpus))
    assert "the corpus other" in message
    assert corpus.fingerprint in message


def test_a_score_without_its_document_is_named(score_rows, write_scores, corpus):
    """Also when the table says nothing of its corpus."""
    rows = changed(score_rows, 5, doc_id="elsewhere:1")
    tables = read_tables([write_scores(rows, corpus_fingerprint=corpus.fingerprint)], "s")
    assert "doc_id 'elsewhere:1' is no document of data= (1 of " in refusal(lambda: join(tables, corpus))


def test_documents_without_a_score_are_passed_over(score_rows, write_scores, corpus):
    """A table may lack documents: they were too short, or their table is damaged."""
    kept = score_rows[::3]
    scored = join(read_tables([write_scores(kept)], "s"), corpus)
    ids = np.array(corpus.dataset["doc_id"])
    assert ids[scored.rows >= 0].tolist() == [row["doc_id"] for row in kept]


def test_a_score_table_costs_tens_of_bytes_a_document(tmp_path):
    """Strings are hashed and let go, a batch at a time."""
    size = 300_000
    columns = {
        field.name: [f"a rather long name of a document, {n}" for n in range(size)]
        if field.name == "doc_id"
        else ["web"] * size
        if field.type == pa.string()
        else np.random.default_rng(0).integers(1, 1000, size)
        for field in SCHEMA
    }
    path = tmp_path / "long.parquet"
    write_table(path, pa.table(columns).cast(SCHEMA).to_batches(), SCHEMA)
    del columns
    tracemalloc.start()
    scores = read_tables([path], "s").candidates
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(scores) == size
    assert held < 50 * size
    # Rows are sorted once all are read; a batch of ids stands beside them before that.
    assert peak < 140 * size + 20e6
