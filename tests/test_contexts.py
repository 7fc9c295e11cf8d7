"""`python -m revlm.contexts` as a user runs it."""

import csv
import json
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from pyarrow import parquet

from revlm.data.tokens import TokenIds
from revlm.measures.scoring import Scorer
from revlm.measures.sliding import Sliding, context_sums
from revlm.pages.contexts import contexts_figure, finding, read_contexts
from revlm.pages.files import kind_of
from revlm.statistics.bootstrap import ratio_effect

DATA = ("data=sample", "data.domains=[finance,bbc_news,drama]", "data.max_bytes_per_domain=20000")
QUICK = ("window=57", "stride=28")


@pytest.fixture(scope="module")
def model(smoke_run):
    return f"model={smoke_run / 'model'}"


@pytest.fixture(scope="module")
def compared(revlm_command, model, tmp_path_factory):
    """A finished comparison and what it printed."""
    folder = tmp_path_factory.mktemp("contexts") / "run"
    run = revlm_command("contexts", model, *DATA, *QUICK, f"run.dir={folder}")
    assert run.returncode == 0, run.stderr
    return folder, run


@pytest.mark.process
def test_a_comparison_leaves_what_it_promises(compared):
    """Table, means, summary and picture; the folder's name last; nothing that the report takes for a run."""
    folder, run = compared
    names = {path.name for path in folder.iterdir()}
    assert names == {".lock", "contexts.parquet", "contexts.csv", "contexts.json", "figures"}
    assert kind_of(names) is None
    assert run.stdout.splitlines()[-1] == str(folder)
    assert "Traceback" not in run.stderr
    assert matplotlib.image.imread(folder / "figures" / "contexts.png").std() > 0.01
    summary = json.loads((folder / "contexts.json").read_text())
    assert summary["config"]["window"] == 57
    assert (summary["arm"], summary["seed"]) == ("from_scratch_mixed_en", 0)
    table = parquet.read_table(folder / "contexts.parquet")
    assert summary["num_documents"] == len(set(table["doc_id"].to_pylist()))


@pytest.mark.process
def test_the_table_holds_the_measures_means(compared, smoke_run, corpus, cache_dir):
    """Row by row what context_sums gives for that document alone."""
    folder, _ = compared
    scorer = Scorer.open(str(smoke_run / "model"), window=57, cache_dir=cache_dir)
    texts = dict(zip(corpus.dataset["doc_id"], corpus.dataset["text"], strict=True))
    rows = parquet.read_table(folder / "contexts.parquet").to_pylist()
    sliding = Sliding(57, 28)
    for doc_id in list(dict.fromkeys(row["doc_id"] for row in rows))[:5]:
        ids = np.asarray(scorer.tokenize.encode(texts[doc_id], add_special_tokens=False).ids)
        sums = context_sums(scorer, TokenIds(ids, np.array([0, len(ids)])), [doc_id], sliding)
        kept = np.flatnonzero(sums.num_tokens[0])
        found = [row for row in rows if row["doc_id"] == doc_id]
        assert [row["context"] for row in found] == sliding.contexts[kept].tolist()
        assert [row["num_tokens"] for row in found] == sums.num_tokens[0, kept].tolist()
        means = [[row["nll_forward"], row["nll_reverse"]] for row in found]
        assert np.allclose(means, (sums.nll[:, 0, kept] / sums.num_tokens[0, kept]).T, atol=1e-5)


@pytest.mark.process
def test_means_and_intervals_follow_from_the_table(compared):
    """Each row of contexts.csv is the token-weighted mean of the table's, its interval over documents."""
    folder, _ = compared
    table = parquet.read_table(folder / "contexts.parquet").to_pylist()
    with (folder / "contexts.csv").open() as file:
        means = list(csv.DictReader(file))
    domains = ["all", *sorted({row["domain"] for row in table})]
    assert [(row["domain"], int(row["context"])) for row in means] == [
        (domain, context)
        for domain in domains
        for context in (0, 14, 28, 42, 56)
        if domain == "all" or any((row["domain"], row["context"]) == (domain, context) for row in table)
    ]
    for row in means:
        behind = [
            other
            for other in table
            if other["context"] == int(row["context"]) and row["domain"] in {"all", other["domain"]}
        ]
        tokens = np.array([other["num_tokens"] for other in behind])
        losses = np.array([[other["nll_forward"], other["nll_reverse"]] for other in behind])
        forward, reverse = (losses * tokens[:, None]).sum(0) / tokens.sum()
        assert float(row["nll_forward"]) == pytest.approx(forward)
        assert float(row["nll_reverse"]) == pytest.approx(reverse)
        assert float(row["difference"]) == pytest.approx(forward - reverse)
        assert (int(row["num_documents"]), int(row["num_tokens"])) == (len(behind), tokens.sum())
        if row is means[0] or row is means[2]:
            effect = ratio_effect(np.stack([(losses[:, 0] - losses[:, 1]) * tokens, tokens], axis=1))
            assert (float(row["low"]), float(row["high"])) == pytest.approx((effect.low, effect.high))


@pytest.mark.process
def test_short_documents_are_counted(revlm_command, model, corpus, tmp_path):
    """A document is compared or said to be left out; an unreadable file is named, and the exit code tells."""
    texts = [*sorted(corpus.dataset["text"], key=len)[-3:], "too short", "this one as well"]
    (tmp_path / "good.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "torn.jsonl").write_bytes(b'{"text": "\xff"}\n')
    folder = tmp_path / "run"
    data = ("data=files", f"data.path={tmp_path}/*.jsonl", "data.max_bytes_per_document=2000")
    run = revlm_command("contexts", model, *data, *QUICK, f"run.dir={folder}")
    summary = json.loads((folder / "contexts.json").read_text())
    assert summary["skipped"]["under 57 tokens"] == 2
    assert summary["num_documents"] == 3
    assert "2 under 57 tokens" in run.stdout
    assert run.returncode == 2
    assert "torn.jsonl" in run.stderr


@pytest.mark.process
def test_the_same_command_finds_its_finished_comparison(revlm_command, model, compared):
    """Nothing is read twice, and other options do not pass for the same."""
    folder, _ = compared
    before = (folder / "contexts.parquet").stat().st_mtime_ns
    run = revlm_command("contexts", model, *DATA, *QUICK, f"run.dir={folder}")
    assert (run.returncode, "finished already" in run.stdout) == (0, True)
    assert (folder / "contexts.parquet").stat().st_mtime_ns == before
    other = revlm_command("contexts", model, *DATA, "window=57", "stride=8", f"run.dir={folder}")
    assert other.returncode == 2
    assert "holds a comparison with another stride (28 there, 8 now)" in other.stderr
    assert len(other.stderr.splitlines()) == 1


@pytest.mark.process
def test_several_models_have_a_folder_each(revlm_command, compared, smoke_run, tmp_path):
    """model=[A,B]: models/NAME for each, with the numbers that it has alone."""
    (tmp_path / "again").symlink_to(smoke_run / "model")
    models = f"model=[{smoke_run / 'model'},{tmp_path / 'again'}]"
    run = revlm_command("contexts", models, *DATA, *QUICK, f"run.root={tmp_path}")
    assert run.returncode == 0, run.stderr
    (folder,) = tmp_path.glob("contexts/*")
    found = sorted(folder.glob("models/*/contexts.csv"))
    assert len(found) == 2
    alone = (compared[0] / "contexts.csv").read_text()
    assert [path.read_text() for path in found] == [alone, alone]


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("window=32",), "window=32 is even"),
        (("window=57", "stride=7"), "stride=7 is not an even number"),
        (("window=67",), "rows of 68 tokens are longer"),
        (
            ("data.max_documents=1", "data.max_bytes_per_document=40", "window=57"),
            "no document has window=57",
        ),
        (("strid=8",), "Did you mean stride?"),
    ],
    ids=["even", "odd", "long", "short", "typo"],
)
def test_a_mistake_is_one_line_and_exit_code_2(revlm_command, model, tmp_path, arguments, words):
    """What is wrong and the way out, and no numbers."""
    run = revlm_command("contexts", model, *DATA, *arguments, f"run.dir={tmp_path / 'run'}")
    assert run.returncode == 2
    assert words in run.stderr
    assert run.stderr.startswith("error: ")
    assert len(run.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("contexts.*"))


@pytest.mark.process
def test_help_imports_nothing_heavy():
    """--help answers at once because torch is not loaded for it."""
    program = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        "try: runpy.run_module('revlm.contexts', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'lightning', 'datasets', 'wandb', 'matplotlib'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "python -m revlm.contexts" in run.stdout
    assert run.stdout.rstrip().endswith("HEAVY []")


def planted(difference, low, high):
    about = {"num_documents": 9, "num_tokens": 90, "low": low, "high": high}
    rows = [
        {"context": k, "nll_forward": 3.0 + (difference if k else 0), "nll_reverse": 3.0, **about}
        for k in (0, 4, 8)
    ]
    return [row | {"difference": row["nll_forward"] - row["nll_reverse"]} for row in rows]


def test_the_headline_claims_no_more_than_the_interval():
    """Which side tells more is said only where the interval leaves out 0."""
    assert (
        finding(planted(0.25, 0.1, 0.4))
        == "8 tokens on the right of a token tell 0.250 nats more than 8 on its left"
    )
    assert "on the left of a token tell 0.250" in finding(planted(-0.25, -0.4, -0.1))
    assert finding(planted(0.25, -0.1, 0.4)).startswith("No sure difference")
    assert finding(planted(0.25, None, None)).startswith("No sure difference")


def test_one_document_draws_without_an_interval(tmp_path):
    """A missing interval is a missing band."""
    summary = {
        "model": "m",
        "window": 9,
        "num_documents": 1,
        "skipped": {},
        "contexts": planted(0.1, None, None),
    }
    (tmp_path / "contexts.json").write_text(json.dumps(summary))
    figure = contexts_figure(read_contexts(tmp_path))
    assert len(figure.axes) == 2
