"""python -m revlm.report, as a user runs it."""

import csv
import subprocess
import sys
import time

import pytest

from tests.records.run_folders import write_run


@pytest.fixture
def report(tmp_path):
    """Run the command in a folder of its own."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "revlm.report", *arguments],
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
        "tables/runs.csv", "tables/sweep.md", "tables/sweep.csv",
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


def test_help_is_quick(report):
    """The options are listed without loading what draws or computes."""
    start = time.monotonic()
    done = report("--help")
    assert "runs: runs" in done.stdout
    assert time.monotonic() - start < 4
