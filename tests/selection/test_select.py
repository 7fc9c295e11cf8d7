"""python -m revlm.select: from scores and a corpus to documents that training reads."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from revlm import cli
from revlm import select as door
from revlm.config import (
    CacheConfig,
    CorpusConfig,
    LoggerConfig,
    Rule,
    RuleConfig,
    RunConfig,
    SelectConfig,
    Source,
    WandbMode,
)
from revlm.data.corpus import load_corpus
from revlm.errors import UserError
from revlm.scores.table import find_tables
from tests.selection.conftest import DATA

BUDGET = 12_000


@pytest.fixture
def run(cache_dir, tmp_path, score_rows, write_scores):
    """Select in this process, as the command does, and give the folder."""

    def selected(rule=Rule.top_s, scores=None, folder="out", budget_tokens=BUDGET, target=None, **options):
        config = SelectConfig(
            scores=str(scores or write_scores(score_rows)),
            data=options.pop("data", DATA),
            rule=RuleConfig(rule, target),
            budget_tokens=budget_tokens,
            run=RunConfig(id="", dir=str(tmp_path / folder)),
            cache=CacheConfig(str(cache_dir)),
            logger=LoggerConfig(WandbMode.none),
            **options,
        )
        door.select(config)
        return tmp_path / folder

    return selected


def documents(folder):
    return parquet.read_table(folder / "selection.parquet").to_pylist()


def facts(folder):
    return json.loads((folder / "selection.json").read_text())


@pytest.mark.parametrize("rule", list(Rule))
def test_a_selection_holds_whole_documents_of_the_corpus_in_its_order(run, corpus, score_rows, rule):
    """Texts and domains are the corpus's, numbers the table's, and tokens sum to the budget."""
    target = CorpusConfig(domains=["law"], max_bytes_per_domain=20_000) if rule is Rule.dsir else None
    rows = documents(run(rule, target=target))
    assert list(rows[0]) == ["doc_id", "text", "domain", "s", "num_tokens"]
    assert sum(row["num_tokens"] for row in rows) == BUDGET
    originals = {row["doc_id"]: row for row in corpus.dataset}
    numbers = {row["doc_id"]: row for row in score_rows}
    for row in rows:
        original, number = originals[row["doc_id"]], numbers[row["doc_id"]]
        assert (row["text"], row["domain"]) == (original["text"], original["domain"])
        assert (row["s"], row["num_tokens"]) == (number["s"], number["num_tokens"])
    chosen = {row["doc_id"] for row in rows}
    assert [row["doc_id"] for row in rows] == [doc_id for doc_id in originals if doc_id in chosen]


def test_training_reads_a_selection_without_options(run, cache_dir):
    """data=files data.path=selection.parquet keeps ids, domains and texts."""
    folder = run()
    path = folder / "selection.parquet"
    corpus = load_corpus(CorpusConfig(source=Source.files, path=str(path)), cache_dir)
    columns = ("doc_id", "text", "domain")
    assert [tuple(row[name] for name in columns) for row in corpus.dataset] == [
        tuple(row[name] for name in columns) for row in documents(folder)
    ]


def test_the_record_counts_what_was_taken(run, score_rows, corpus):
    """Documents, tokens, domains and means agree with the files, and provenance is there."""
    folder = run(by_domain=True)
    record, rows = facts(folder), documents(folder)
    total = sum(row["num_tokens"] for row in rows)
    assert (record["rule"], record["budget_tokens"], record["seed"]) == ("top_s", BUDGET, 0)
    assert (record["num_documents"], record["num_tokens"]) == (len(rows), total)
    assert record["short_by"] == BUDGET - total == sum(d["short_by"] for d in record["domains"].values())
    assert record["selected"]["mean_s"] == pytest.approx(np.mean([row["s"] for row in rows]))
    assert record["all"]["mean_nll_reverse"] == pytest.approx(
        np.mean([row["nll_reverse"] for row in score_rows])
    )
    for name, domain in record["domains"].items():
        assert domain["num_tokens"] == sum(row["num_tokens"] for row in rows if row["domain"] == name)
        assert domain["num_documents"] == sum(row["domain"] == name for row in rows)
        assert domain["num_documents_all"] == sum(row["domain"] == name for row in score_rows)
        assert domain["num_tokens"] + domain["short_by"] == domain["budget_tokens"]
    assert record["corpus_fingerprint"] == corpus.fingerprint
    assert record["scores"]["metadata"] == [{"corpus_fingerprint": corpus.fingerprint, "model": "made up"}]
    assert yaml.safe_load((folder / "config.yaml").read_text())["rule"]["name"] == "top_s"


def test_the_same_command_writes_the_same_bytes(run):
    """Again into the same folder: documents and record do not change."""
    first = {path.name: path.read_bytes() for path in run(Rule.random).iterdir()}
    assert {path.name: path.read_bytes() for path in run(Rule.random).iterdir()} == first
    assert set(first) == {"selection.parquet", "selection.json", "config.yaml"}


def test_the_terminal_shows_the_choice_beside_the_corpus(run, capsys):
    """A few aligned lines, and the folder last."""
    folder = run()
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(folder)
    assert printed[0].startswith("top_s by s, seed 0: 12,000 of ")
    table = printed[2 : 2 + 6]
    assert table[0].split() == ["selected", "all", "scored"]
    assert len({len(line) for line in table}) == 1
    assert any(line.startswith("  bbc_news") for line in printed)


def test_a_budget_above_the_corpus_takes_all_and_says_so(run, score_rows, capsys):
    """No error: there is simply no more."""
    total = sum(row["num_tokens"] for row in score_rows)
    rows = documents(run(budget_tokens=total + 1))
    assert len(rows) == len(score_rows)
    message = (
        f"budget_tokens={total + 1} is more than the {total} tokens there are: all documents are selected."
    )
    assert message in capsys.readouterr().out


def test_a_budget_below_every_document_is_refused(run, tmp_path):
    """An empty selection would be no corpus; nothing is written."""
    with pytest.raises(UserError, match="budget_tokens=3 is less than the shortest document"):
        run(budget_tokens=3)
    assert not (tmp_path / "out").exists()


def test_a_sum_that_cannot_be_met_is_told(run, score_rows, write_scores, capsys):
    """Where all documents have even sizes an odd budget is short by one."""
    rows = [row | {"num_tokens": row["num_tokens"] * 2} for row in score_rows]
    assert facts(run(scores=write_scores(rows), budget_tokens=5001))["short_by"] == 1
    assert "short of the budget by 1:" in capsys.readouterr().out


def test_another_column_decides(run, score_rows):
    """column= chooses by any number of the table."""
    folder = run(column="compression_ratio")
    ratios = {row["doc_id"]: row["compression_ratio"] for row in score_rows}
    chosen = [ratios[row["doc_id"]] for row in documents(folder)]
    assert np.mean(chosen) > np.mean(list(ratios.values())) + 0.05
    assert facts(folder)["column"] == "compression_ratio"


def test_a_damaged_shard_is_named_and_the_rest_goes_on(run, score_rows, write_scores, capsys):
    """The selection is written without it, and the command does not end as if all were well."""
    write_scores(score_rows[:50], "shard-a.parquet")
    bad = write_scores(score_rows[50:70], "shard-b.parquet")
    write_scores(score_rows[70:], "shard-c.parquet")
    bad.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match=r"1 file\(s\) could not be read; the selection was written without"):
        run(scores=bad.with_name("shard-*.parquet"))
    assert f"unreadable: {bad}" in capsys.readouterr().err
    lost = {row["doc_id"] for row in score_rows[50:70]}
    rows = documents(bad.parent / "out")
    assert sum(row["num_tokens"] for row in rows) == BUDGET
    assert not lost & {row["doc_id"] for row in rows}
    assert facts(bad.parent / "out")["scores"]["left_out"] == [str(bad)]


def test_a_failure_leaves_nothing_half_written(run, monkeypatch):
    """Killed while writing: no selection.parquet, no record of one, and no rest."""
    from revlm.selection import write

    folder = run(Rule.random)
    before = (folder / "selection.parquet").read_bytes()

    def broken(*_):
        yield write.SCHEMA.empty_table()
        raise RuntimeError

    monkeypatch.setattr(write, "_tables", broken)
    with pytest.raises(RuntimeError):
        run(Rule.top_s)
    assert {path.name for path in folder.iterdir()} == {"selection.parquet", "config.yaml"}
    assert (folder / "selection.parquet").read_bytes() == before


def test_texts_are_never_all_in_memory(tmp_path, cache_dir):
    """Selecting 150 MB of text holds a fraction of it: row groups pass through."""
    random = np.random.default_rng(0)
    words = " ".join(random.choice(["forward", "reverse", "token", "window", "loss"], 23_000))
    with (tmp_path / "texts.jsonl").open("w") as file:
        for n in range(1000):
            file.write(json.dumps({"text": f"{n} {words}"}) + "\n")
    data = CorpusConfig(source=Source.files, path=str(tmp_path / "texts.jsonl"))
    ids = load_corpus(data, cache_dir).dataset["doc_id"]
    size = len(ids)
    table = {
        "doc_id": list(ids),
        "domain": ["texts"] * size,
        "num_tokens": [23_000] * size,
        "s": random.normal(size=size),
        "nll_forward": random.normal(size=size),
    }
    parquet.write_table(pa.table(table), tmp_path / "scores.parquet")
    program = f"""
import pyarrow as pa
from revlm import select as door
from revlm.config import *
config = SelectConfig(scores={str(tmp_path / "scores.parquet")!r}, budget_tokens={23_000 * (size - 1)},
    data=CorpusConfig(source=Source.files, path={str(tmp_path / "texts.jsonl")!r}),
    run=RunConfig(id="", dir={str(tmp_path / "out")!r}), cache=CacheConfig({str(cache_dir)!r}))
door.select(config)
print(pa.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    selected = parquet.ParquetFile(tmp_path / "out" / "selection.parquet")
    assert selected.metadata.num_rows == size - 1
    assert selected.metadata.num_row_groups >= 2
    assert int(done.stdout.splitlines()[-1]) < 60e6


@pytest.mark.process
def test_the_command_ends_with_the_folder(revlm_command, score_rows, write_scores, tmp_path):
    """As a user runs it, from any folder, with the default place for selections."""
    write_scores(score_rows)
    data = ("data.domains=[finance,bbc_news,drama]", "data.max_bytes_per_domain=60_000")
    done = revlm_command(
        "select", f"scores={tmp_path}", "rule=bottom_s", f"budget_tokens={BUDGET}", *data, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / done.stdout.splitlines()[-1]
    assert folder.parent == tmp_path / "runs" / "select"
    assert folder.name.startswith(f"bottom_s_{BUDGET}_0_")
    assert facts(folder)["num_tokens"] == BUDGET


def test_a_table_s_name_may_hold_brackets(score_rows, write_scores, tmp_path):
    """A path that exists means itself; beside it, the same signs are a glob."""
    write_scores(score_rows)
    scores, bracketed = tmp_path / "scores.parquet", tmp_path / "[a] run"
    bracketed.mkdir()
    table = scores.rename(bracketed / "part[1].parquet")
    assert find_tables(str(table)) == [table]
    assert find_tables(str(bracketed / "*.parquet")) == [table]


MISTAKES = {
    "": "scores= and budget_tokens= must be given.",
    "scores=nowhere": "budget_tokens= must be given.",
    "scores=nowhere budget_tokens=5": "scores=nowhere: there is no score table",
    "scores=. budget_tokens=0": "budget_tokens=0: set it to 1 or more.",
    "scores=. budget_tokens=5 temperature=-1": "temperature=-1.0: set it to 0 or more",
    "scores=. budget_tokens=5 temperature=inf": "temperature=inf: set it to 0 or more, and to a finite",
    "scores=. budget_tokens=5 seed=-1": "seed=-1: set it to 0 or more.",
    "scores=. budget_tokens=5 rule=top": "Did you mean top_s?",
    "scores=. budget_tokens=5 rule=random temperature=1": "changes nothing with rule=random",
    "scores=. budget_tokens=5 rule=dsir rule.target=null": "name one with rule.target.source=",
    "scores=. budget_tokens=5 colum=s": "colum: there is no such option. Did you mean column?",
    "scores=scores.parquet budget_tokens=5 column=t": "column=t: scores.parquet has no such number",
    "scores=scores.parquet budget_tokens=50 data.max_documents=5": "holds scores of the corpus",
}


@pytest.mark.process
@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_one_line_with_the_way_out(arguments, revlm_command, score_rows, write_scores, tmp_path):
    """Exit code 2, one line, no folder."""
    write_scores(score_rows)
    done = revlm_command("select", *arguments.split(), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert MISTAKES[arguments] in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"scores.parquet"}


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_is_a_choice_of_its_name(rule):
    """rule=NAME composes with the data of a scoring run."""
    given = [f"rule={rule}", "scores=x", "budget_tokens=5", "data=sample_de"]
    declared = cli.declared("select", cli.compose("select", given))
    assert declared.rule.name is rule
    assert (declared.rule.target is not None) == (rule is Rule.dsir)
    assert declared.run.dir.startswith(f"runs/select/{rule}_5_0_")


def test_other_options_are_another_folder():
    """A selection replaces none that was made in another way."""
    given = ["", "zscore=true", "column=nll_reverse", "data=sample_de", "scores=y", "seed=1", "rule=random"]
    folders = set()
    for other in given:
        options = ["scores=x", "budget_tokens=5", *([other] if other else [])]
        folders.add(cli.compose("select", options).run.dir)
    assert len(folders) == len(given)


def test_a_model_trains_on_a_selection(run, run_train, cache_dir, tmp_path):
    """The command that follows reads the selection, all of it, under its own ids."""
    path = run() / "selection.parquet"
    options = ("scale=smoke", "logger=none", "data=files", f"data.path={path}", "budget.tokens=2_000")
    trained = run_train(tmp_path / "trained", "+experiment=from_scratch_forward", *options)
    summary = json.loads((trained / "summary.json").read_text())
    corpus = load_corpus(CorpusConfig(source=Source.files, path=str(path)), cache_dir)
    assert summary["corpus_fingerprint"] == corpus.fingerprint
    assert set(corpus.dataset["domain"]) <= set(DATA.domains)


@pytest.mark.slow
def test_smollm2_continues_on_a_selection(run, run_train, tmp_path):
    """The experiment that selections are made for."""
    path = run() / "selection.parquet"
    options = ("scale=smoke", "logger=none", "data=files", f"data.path={path}")
    trained = run_train(tmp_path / "trained", "+experiment=continued_forward", *options)
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["nll_forward"] < summary["start_nll_forward"] + 0.1
