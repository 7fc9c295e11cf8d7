"""Shards: complete or absent, the same whoever scores them, and never mixed with others."""

import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from revlm.config import CorpusConfig, CurvesConfig, ScoreConfig, Source, Unreadable
from revlm.data.tokens import tokenizer_fingerprint
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.document_scores import document_scores
from revlm.models.backbone import export
from revlm.pages.scores.figures import spread_figure
from revlm.pages.scores.run import read_score_run, score_table
from revlm.scores.merge import Groups, merge
from revlm.scores.shards import Job, ShardedScores, check_identity, score_here, score_shards, shard_bounds
from revlm.scores.table import SCHEMA, metadata, write_table


@pytest.fixture
def model_folder(tiny_lm, tokenizer, tmp_path):
    """An exported model with random weights, as a run leaves it."""
    facts = {
        "directions": ["forward", "reverse"],
        "window": 64,
        "tag": False,
        "granularity": "token",
        "segment_tokens": 8,
        "tokenizer_fingerprint": tokenizer_fingerprint(tokenizer),
    }
    export(tiny_lm, tokenizer, tmp_path / "model", facts)
    return tmp_path / "model"


@pytest.fixture
def job(model_folder, cache_dir, tmp_path):
    """Three domains of real text in shards of some 10,000 tokens."""
    config = ScoreConfig(
        data=CorpusConfig(domains=["finance", "bbc_news", "drama"], max_bytes_per_domain=60_000),
        shard_tokens=10_000,
        tokens=True,
        curves=CurvesConfig(resamples=20),
    )
    config.cache.dir = str(cache_dir)
    return Job(config, str(model_folder), None, tmp_path / "run")


def finish(job):
    scores = ShardedScores(job)
    score_shards(job, range(len(scores)), threads=1)
    merge(scores, {})
    return job.folder


def test_the_table_holds_the_contracts_columns(job):
    """Names, types and order of the score table are an interface."""
    table = parquet.read_table(finish(job) / "scores.parquet")
    contract = ["doc_id", "domain", "language", "num_tokens", "num_bytes", "nll_forward", "nll_reverse", "s"]
    assert table.schema.names[:9] == [*contract, "intersection"]
    assert table.schema.remove_metadata() == SCHEMA
    assert metadata(table.schema)["begin_token"] == "<|bos|>"
    s = table["nll_forward"].to_numpy() - table["nll_reverse"].to_numpy()
    assert np.allclose(table["s"].to_numpy(), s)


def test_a_table_says_what_its_numbers_follow_from(job):
    """Of the model, the corpus and the options; the run's summary and identity agree with it."""
    folder, opened = finish(job), ShardedScores(job).opened
    said = metadata(parquet.read_schema(folder / "scores.parquet"))
    summary = json.loads((folder / "score.json").read_text())
    assert {name: summary[name] for name in said} == said
    assert set(said) == {
        "model", "directions", "parameters", "model_fingerprint", "tokenizer_fingerprint", "corpus_fingerprint",
        "data", "window", "begin_token", "min_tokens", "smoothing", "hold",
    }  # fmt: skip
    model = opened.scorer.models[Direction.FORWARD]
    assert said["model_fingerprint"] == ShardedScores(job).identity()["model"] == model.fingerprint()
    assert (said["corpus_fingerprint"], said["window"]) == (opened.corpus.fingerprint, 64)


def test_rows_stand_in_the_order_of_the_corpus(job, corpus):
    """Whatever is joined to the table later can go through both in one pass."""
    table = parquet.read_table(finish(job) / "scores.parquet")
    known = {doc_id: row for row, doc_id in enumerate(corpus.dataset["doc_id"])}
    rows = [known[doc_id] for doc_id in table["doc_id"].to_pylist()]
    assert rows == sorted(rows)
    assert table["num_bytes"].to_pylist() == [len(corpus.dataset[row]["text"].encode()) for row in rows]


def test_an_interrupted_run_leaves_the_same_bytes(job, tmp_path):
    """Some shards now, some later, one of them torn: the table is equal to the last byte."""
    whole = finish(job)
    other = Job(job.config, job.forward, None, tmp_path / "other")
    scores = ShardedScores(other)
    assert len(scores) > 3
    score_shards(other, [2, 0], threads=1)
    scores.path(1).write_bytes(b"half a file")
    score_shards(other, scores.missing(), threads=1)
    merge(scores, {})
    for name in ("scores.parquet", "tokens.parquet", "curves.csv", "intersection.json"):
        assert (whole / name).read_bytes() == (other.folder / name).read_bytes()


def test_a_damaged_shard_is_named_and_scored_again(job, capsys):
    """A bit that flipped behind the marker is found by the checksum."""
    score_shards(job, [0, 1], threads=1)
    scores = ShardedScores(job)
    data = bytearray(scores.path(1).read_bytes())
    data[len(data) // 2] ^= 1
    scores.path(1).write_bytes(bytes(data))
    missing = scores.missing()
    assert 1 in missing
    assert 0 not in missing
    assert f"{scores.path(1)} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["model", "corpus", "window"])
def test_a_run_never_goes_on_with_something_else(job, change, tiny_lm, tokenizer):
    """A changed model, corpus or option is refused by its name."""
    check_identity(job.folder, ShardedScores(job).identity())
    if change == "model":
        with torch.no_grad():
            tiny_lm.get_input_embeddings().weight[5, 5] += 1e-3
        export(tiny_lm, tokenizer, job.folder.parent / "model", json.loads(facts_of(job)))
    elif change == "corpus":
        job.config.data.max_bytes_per_domain = 50_000
    else:
        job.config.window = 32
    with pytest.raises(UserError, match=f"begun with another {change}"):
        check_identity(job.folder, ShardedScores(job).identity())


def facts_of(job):
    return (job.folder.parent / "model" / "revlm.json").read_text()


def test_another_tokenizer_than_the_models_is_refused(job, tokenizer):
    """The export remembers the hash of its tokenizer."""
    from revlm.data.tokens import train_bpe

    train_bpe(["some other text"] * 5, 300).save_pretrained(job.folder.parent / "model")
    with pytest.raises(UserError, match=r"is not the one that .* was trained"):
        ShardedScores(job)


def test_token_losses_make_up_the_scores(job):
    """tokens.parquet and scores.parquet say the same: means of the one are entries of the other."""
    folder = finish(job)
    tokens, table = (parquet.read_table(folder / f"{name}.parquet") for name in ("tokens", "scores"))
    for row in (0, len(table) // 2, len(table) - 1):
        for direction in ("forward", "reverse"):
            losses = np.asarray(tokens[f"token_nll_{direction}"][row].as_py())
            assert losses.mean() == pytest.approx(table[f"nll_{direction}"][row].as_py(), abs=1e-6)
    assert tokens["doc_id"].equals(table["doc_id"])


def test_curves_hold_every_token_once(job):
    """Counts of a domain's curve sum to its tokens; the losses' mean is the summary's."""
    folder = finish(job)
    table = parquet.read_table(folder / "scores.parquet").to_pandas()
    rows = [line.split(",") for line in (folder / "curves.csv").read_text().splitlines()[1:]]
    summary = json.loads((folder / "score.json").read_text())
    for domain, tokens in table.groupby("domain")["num_tokens"].sum().items():
        mine = [(float(nll), int(count)) for d, way, _, nll, count in rows if (d, way) == (domain, "reverse")]
        assert sum(count for _, count in mine) == tokens
        mean = sum(nll * count for nll, count in mine) / tokens
        assert mean == pytest.approx(summary["by_domain"][domain]["nll_reverse"], abs=1e-5)
    assert summary["num_documents"] == len(table)


def test_curves_of_first_windows_hold_the_beginnings_alone(job):
    """At each position they count the documents that reach it, and their losses are those documents' own."""
    folder = finish(job)
    tokens = parquet.read_table(folder / "tokens.parquet")
    losses = [np.array(row) for row in tokens["token_nll_forward"].to_pylist()]
    rows = [line.split(",") for line in (folder / "curves_first.csv").read_text().splitlines()[1:]]
    curve = {
        int(p): (float(nll), int(n)) for name, way, p, nll, n in rows if (name, way) == ("all", "forward")
    }
    assert len(curve) == 64
    assert max(map(len, losses)) > 64
    for position, (nll, count) in curve.items():
        reached = [row[position] for row in losses if len(row) > position]
        assert count == len(reached)
        assert nll == pytest.approx(np.mean(reached, dtype=np.float64), abs=1e-5)
    reverse = [(int(p), int(n)) for name, way, p, _, n in rows if (name, way) == ("all", "reverse")]
    assert reverse == [(position, count) for position, (_, count) in curve.items()]
    assert set(json.loads((folder / "intersection.json").read_text())["first"]["domain"]) == {
        "finance",
        "bbc_news",
        "drama",
    }


def test_short_documents_are_left_out_and_counted(job):
    """min_tokens drops a document from the table, and the summary says how many."""
    job.config.min_tokens = 200
    folder = finish(job)
    table = parquet.read_table(folder / "scores.parquet")
    summary = json.loads((folder / "score.json").read_text())
    assert min(table["num_tokens"].to_pylist()) >= 200
    assert summary["skipped"]["under 200 tokens"] > 0


def test_shards_that_lack_their_marker_do_not_count(job):
    """The marker is written last: without it a shard is as good as absent."""
    score_shards(job, [0], threads=1)
    scores = ShardedScores(job)
    scores.path(0).with_suffix(".json").unlink()
    assert 0 in scores.missing()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200), st.integers(1, 100))
def test_shards_cover_the_documents_in_order(lengths, shard_tokens):
    """Every document lies in one shard; a shard ends with the document that fills it."""
    bounds = shard_bounds(np.array(lengths), shard_tokens)
    assert bounds[0] == 0
    assert bounds[-1] == len(lengths)
    assert (np.diff(bounds) > 0).all()
    sums = [sum(lengths[a:b]) for a, b in itertools.pairwise(bounds)]
    assert max(sums) < shard_tokens + max(lengths)


def test_the_same_numbers_without_shards(job, corpus):
    """The table is what the scorer says of each document, wherever shards begin."""
    folder = finish(job)
    opened = ShardedScores(job).opened
    losses = opened.scorer.token_losses(opened.store.take(opened.documents), [""] * len(opened.documents))
    direct = document_scores(losses, [1] * len(losses), job.config.curves)
    table = parquet.read_table(folder / "scores.parquet")
    assert np.allclose(table["s"].to_numpy(), direct["s"], atol=1e-5)
    found = table["intersection"].to_pylist()
    assert sum(a == b for a, b in zip(found, direct["intersection"], strict=True)) >= 0.95 * len(found)


def test_too_many_curves_are_refused_before_memory_is_full(job, monkeypatch):
    """The way out is named: fewer resamples, fewer domains."""
    from revlm.scores import merge as module

    monkeypatch.setattr(module, "MAX_CURVE_BYTES", 1000)
    with pytest.raises(UserError, match=r"lower curves\.resamples"):
        finish(job)


def test_equal_rows_are_equal_bytes_however_batched(tmp_path):
    """A Parquet file does not remember in which batches its rows came."""
    from revlm.scores.table import write_table

    schema = pa.schema([("n", pa.int64())])
    rows = pa.record_batch([pa.array(range(200_000))], schema=schema)
    write_table(tmp_path / "a", [rows], schema)
    write_table(tmp_path / "b", [rows.slice(at, 7001) for at in range(0, 200_000, 7001)], schema)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    shutil.rmtree(tmp_path)


def on_files(job, tmp_path, rows, **options):
    """The job, reading rows of a table instead."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = CorpusConfig(source=Source.files, path=str(tmp_path / "data"), domain="domain", **options)
    return replace(job, config=replace(job.config, data=data, min_tokens=2, curves=CurvesConfig(resamples=0)))


def test_a_domain_called_all_is_not_the_corpus(job, tmp_path):
    """Its rows stand beside those of the whole corpus, in curves, crossings, means and tables."""
    texts = {"all": "first text of some words", "web": "another one, which is longer than the first one is"}
    rows = [{"text": text, "domain": domain} for domain, text in texts.items()]
    run = read_score_run(finish(on_files(job, tmp_path, rows)))
    assert set(run.curves) == {"all", "all (domain)", "web"}
    assert run.summary["by_domain"].keys() == {"all (domain)", "web"}
    assert run.summary["num_documents"] == 2
    assert run.crossing("all (domain)")["num_documents"] == 1
    assert run.crossing(None)["num_documents"] == 2
    assert "| all (domain) " in score_table(run)
    labels = {label.get_text() for label in spread_figure(run).axes[0].get_yticklabels()}
    assert labels == {"all (domain)", "web"}


def test_what_was_passed_over_stands_in_the_record_and_at_the_end(job, tmp_path):
    """Files and rows that were not scored are counted in score.json, and the command's last lines say so."""
    rows = [{"text": "first text of some words", "domain": "a"}, {"text": None, "domain": "a"}]
    job = on_files(job, tmp_path, rows, unreadable=Unreadable.skip)
    (tmp_path / "data" / "README.md").write_text("a card")
    run = read_score_run(finish(job))
    read = run.summary["read"]
    assert (read["files"], read["rows"], read["rows_left_out"]) == (1, 2, {"text is null": 1})
    assert next(iter(read["passed_over"].values()))["first"] == ["README.md"]
    assert "README.md" in score_table(run)
    assert "left out 1 row, text is null" in score_table(run)


def test_many_domains_fit_on_a_screen(job, tmp_path):
    """The terminal shows the largest and counts the others; the files have all."""
    rows = [{"text": f"text number {row} of this table", "domain": f"d{row % 120}"} for row in range(130)]
    folder = finish(on_files(job, tmp_path, rows))
    table = score_table(read_score_run(folder))
    assert "90 others, in score.json" in table
    assert len(table.splitlines()) < 40
    assert len(json.loads((folder / "score.json").read_text())["by_domain"]) == 120


def test_losses_are_written_without_a_dictionary(tmp_path):
    """None of them occurs twice: a dictionary took 300 MB for one document of 10 MB, and a larger file."""
    schema = pa.schema([("doc_id", pa.string()), ("nll", pa.list_(pa.float32())), ("s", pa.float64())])
    rows = pa.record_batch([["a"], [[1.0, 2.0]], [0.5]], schema=schema)
    write_table(tmp_path / "table.parquet", [rows], schema)
    group = parquet.ParquetFile(tmp_path / "table.parquet").metadata.row_group(0)
    assert [group.column(at).has_dictionary_page for at in range(3)] == [True, False, True]


def test_curves_of_a_long_document_do_not_depend_on_its_slices(job, monkeypatch):
    """A document that is added a few tokens at a time has the same curves."""
    scores = ShardedScores(job)
    score_here(scores, scores.missing())
    documents, batch = next(iter(scores.batches()))
    sums = []
    for size in (1 << 19, 7):
        monkeypatch.setattr("revlm.scores.merge.CHUNK_TOKENS", size)
        groups = Groups(scores)
        groups.add(documents, batch)
        sums.append(
            [torch.stack(curve.compute()[:2]) for curve in groups.total(groups.groups).curves.values()]
        )
    torch.testing.assert_close(*sums, rtol=1e-12, atol=0)
