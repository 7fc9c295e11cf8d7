"""python -m revlm.report, as a user runs it."""

import csv
import json
import subprocess
import sys
import time

import pytest

from revlm import report as command
from revlm.config import ReportConfig
from revlm.config.shared import FolderConfig
from revlm.errors import UserError
from revlm.scores.agreement import gather
from tests.pages.run_folders import write_run
from tests.pages.test_evaluations import evaluation
from tests.scores.score_folders import documents, plain_s, write_score_run


@pytest.fixture
def report(tmp_path, python):
    """Run the command in a folder of its own."""

    def run(*arguments):
        return subprocess.run(
            [python, "-m", "revlm.report", *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )

    return run


@pytest.fixture
def sweep(tmp_path):
    """Three directions, two seeds each, as a sweep leaves them."""
    for module, forward, reverse in (("forward", 4.2, 6.9), ("reverse", 7.1, 4.3), ("mixed", 4.4, 4.45)):
        for seed in (0, 1):
            folder = tmp_path / "runs" / f"from_scratch_{module}" / f"run_{seed}"
            write_run(
                folder,
                module=module,
                seed=seed,
                forward=forward + seed / 100,
                reverse=reverse,
                tokens=100_000,
            )
    return tmp_path / "runs"


def test_report_gathers_a_sweep(report, sweep, tmp_path):
    """All tables and figures appear, the table is printed and the folder comes last."""
    done = report()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "report"
    assert done.stdout.startswith((tmp_path / "report/tables/sweep.md").read_text().splitlines()[0])
    found = {path.relative_to(tmp_path / "report").as_posix() for path in (tmp_path / "report").rglob("*.*")}
    assert found == {
        "report.html", "tables/runs.csv", "tables/sweep.md", "tables/sweep.csv",
        "figures/loss_by_direction.png", "figures/position_curves.png",
    }  # fmt: skip


def test_report_again_changes_nothing(report, sweep, tmp_path):
    """A second report over the same runs and folder leaves the same bytes."""
    report()
    first = {path: path.read_bytes() for path in (tmp_path / "report").rglob("*.*")}
    report()
    assert {path: path.read_bytes() for path in (tmp_path / "report").rglob("*.*")} == first


def test_glob_chooses_runs(report, sweep, tmp_path):
    """A glob takes the runs it names, wherever the folder goes."""
    assert report("runs='runs/*_mixed/run_*'", "run.dir=chosen").returncode == 0
    rows = list(csv.DictReader((tmp_path / "chosen/tables/runs.csv").open()))
    assert [(row["name"], row["seed"]) for row in rows] == [
        ("from_scratch_mixed", "0"),
        ("from_scratch_mixed", "1"),
    ]


def test_a_folder_that_exists_is_no_pattern(tmp_path):
    """Brackets in a run's folder, or above a glob, are part of a name where there is such a name."""
    for folder in ("[web]/one_0", "w/two_0", "[web]/[x]/three_0", "[web]/x/four_0"):
        write_run(tmp_path / folder, tokens=100_000)
    (tmp_path / "[web]" / "round").symlink_to(tmp_path / "[web]", target_is_directory=True)

    def found(pattern):
        return [folder.name for folder in command.find_runs(str(tmp_path / pattern))["training"]]

    assert found("[web]/*_0") == ["one_0"]
    assert found("[web]/[x]/*") == ["three_0"]
    assert found("[w]/*") == ["two_0"]
    assert found("[web]/**/*_0") == ["three_0", "one_0", "four_0"]
    assert found("[web]/one*/*.json") == []


def test_unfinished_damaged_and_repeated_runs_are_named(report, sweep):
    """Runs left out are named with the reason, and the others are reported."""
    (sweep / "from_scratch_mixed/run_0/summary.json").unlink()
    (sweep / "from_scratch_mixed/run_1/curves.csv").write_text("step\n")
    write_run(sweep / "from_scratch_forward/again_0", module="forward", tokens=100_000)
    done = report()
    assert done.returncode == 0
    left_out = done.stdout.split("## Left out: 3")[1]
    assert all(
        name in left_out for name in ("from_scratch_mixed/run_0", "from_scratch_mixed/run_1", "again_0")
    )


@pytest.mark.parametrize("pattern", ["nowhere", "'runs/x*'"])
def test_no_run_is_the_users_to_mend(report, pattern, tmp_path):
    """Without a finished run the command ends with 2 and a line that says what to do, and writes nothing."""
    done = report(f"runs={pattern}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: runs=")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_help_is_quick():
    """The options are listed without loading what draws or computes."""
    command = [sys.executable, "-m", "revlm.report", "--help"]
    start = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "runs: runs" in done.stdout
    assert time.monotonic() - start < 4


@pytest.fixture
def scored(corpus, tmp_path):
    """A scoring run, one of two models, and a selection, as the commands leave them."""
    root, columns = tmp_path / "runs", documents(corpus)
    write_score_run(root / "score/one", columns, about={"model": "llama_1m"})
    both = root / "score/both"
    folders = {
        name: write_score_run(both / "models" / name, columns, plain_s(columns, seed), about={"model": name})
        for seed, name in enumerate("ab")
    }
    gather(folders, both)
    (both / "config.yaml").write_text("model: {}\n")
    selection = root / "select/top_s_1000_0"
    selection.mkdir(parents=True)
    (selection / "config.yaml").write_text("rule: {}\n")
    facts = {
        "rule": "top_s", "column": "s", "budget_tokens": 1000, "num_tokens": 990, "num_documents": 7, "seed": 0,
        "selected": {"mean_s": 0.125}, "all": {"mean_s": -0.25},
    }  # fmt: skip
    (selection / "selection.json").write_text(json.dumps(facts))
    return root


def gathered(root, tmp_path):
    """The report over a folder, made in this process: its tables by name."""
    command.report(ReportConfig(runs=str(root), run=FolderConfig(dir=str(tmp_path / "report"))))
    return {path.name: path.read_text() for path in sorted((tmp_path / "report/tables").iterdir())}


def test_scores_and_selections_are_reported_without_training_runs(scored, tmp_path):
    """Scoring runs and selections alone make a report, without tables or figures of training."""
    assert list(gathered(scored, tmp_path)) == ["scores.csv", "scores.md", "selections.csv", "selections.md"]
    assert not (tmp_path / "report/figures").exists()


def test_scores_are_told_by_run_model_and_domain(scored, tmp_path):
    """Each run has a row with its mean of s and interval; several models have one for the mean and one each."""
    tables = gathered(scored, tmp_path)
    rows = list(csv.DictReader(tables["scores.csv"].splitlines()))
    whole = [row for row in rows if row["of"] == "corpus"]
    assert [row["model"] for row in whole] == ["mean of a, b", "a", "b", "llama_1m"]
    summary = json.loads((scored / "score/one/score.json").read_text())
    assert float(whole[-1]["s"]) == pytest.approx(summary["s"])
    assert float(whole[-1]["s_low"]) < summary["s"] < float(whole[-1]["s_high"])
    assert {row["domain"] for row in rows if row["of"] == "domain"} == set(summary["by_domain"])
    assert f"{summary['s']:+.4f} [" in tables["scores.md"]


def test_selections_are_told_with_their_mean(scored, tmp_path):
    """A selection has a row with rule, budget, counts and the mean of s in it and in all."""
    page = gathered(scored, tmp_path)["selections.md"]
    assert all(part in page for part in ("top_s", "1,000", "990", "+0.1250", "-0.2500"))


def test_training_runs_are_reported_as_ever_beside_scores(scored, sweep, tmp_path):
    """Scoring runs and selections among training runs change no byte of the tables of training."""
    beside = gathered(scored, tmp_path)
    alone = gathered(scored / "from_scratch_*", tmp_path / "alone")
    assert set(alone) == {"runs.csv", "sweep.csv", "sweep.md"}
    assert {name: beside[name] for name in alone} == alone
    assert "Left out" not in beside["sweep.md"]


def test_unfinished_scoring_runs_are_named(scored, tmp_path):
    """A scoring run without its summary is left out by name, as one that can be continued."""
    (scored / "score/one/score.json").unlink()
    page = gathered(scored, tmp_path)["scores.md"]
    assert "## Left out: 1" in page
    assert "score/one: no score.json, so this scoring run is not finished" in page


def test_what_no_page_can_tell_is_printed(scored, tmp_path, capsys):
    """A damaged training run among scoring runs only is named on the terminal."""
    write_run(scored / "from_scratch_mixed/run_0")
    (scored / "from_scratch_mixed/run_0/curves.csv").unlink()
    gathered(scored, tmp_path)
    assert "curves.csv: the file is missing" in capsys.readouterr().out


def test_only_unfinished_runs_are_the_users_to_mend(scored, tmp_path):
    """Where nothing is finished the error says why the first run is not, and nothing is written."""
    for path in [*scored.glob("score/*/score.json"), *scored.glob("select/*/selection.json")]:
        path.write_text("{")
    with pytest.raises(UserError, match=r"no finished run there.*score\.json"):
        gathered(scored, tmp_path)
    assert not (tmp_path / "report").exists()


def test_evaluations_have_a_page_of_their_own(tmp_path):
    """Arms of one command and single evaluations share one table with their paired differences."""
    evaluation(tmp_path / "runs" / "one", [1, 0, 1, 1])
    (tmp_path / "runs" / "both").mkdir()
    (tmp_path / "runs" / "both" / "config.yaml").write_text("{}")
    evaluation(tmp_path / "runs" / "both" / "arms" / "reverse", [0, 0, 1, 0], direction="reverse")
    command.report(ReportConfig(runs=str(tmp_path / "runs"), run=FolderConfig(dir=str(tmp_path / "report"))))
    page = (tmp_path / "report" / "tables" / "evaluations.md").read_text()
    assert "0.750" in page
    assert "0.250" in page
    assert "Paired differences" in page
    assert not (tmp_path / "report" / "tables" / "sweep.md").exists()
