"""Many runs from one command: on this machine, over processes, and as jobs for a cluster."""

import csv
import json
from itertools import product

import hydra
import pytest
from hydra.plugins.launcher import Launcher

from revlm.config import Module

SMOKE = ("scale=smoke", "logger=none", "logger.samples=0", "budget.tokens=2_000", "budget.validations=1")
SEEDS = (0, 1, 2)


def summaries(root):
    """What each finished run below a folder says of itself."""
    return [json.loads(path.read_text()) for path in sorted(root.glob("*/*/summary.json"))]


def losses(folder):
    """The numbers of a run that no clock makes."""
    return (folder / "curves.csv").read_bytes(), (folder / "intersection.json").read_bytes()


@pytest.fixture(scope="module")
def sweep_command(revlm_command):
    """Start the from-scratch sweep in a folder, under a name by which it can be continued."""

    def run(root):
        return revlm_command(
            "train", "+sweep=from_scratch", *SMOKE, f"run.root={root}", "run.id=one", "ckpt_path=last"
        )

    return run


@pytest.fixture(scope="module")
def sweep(sweep_command, tmp_path_factory):
    """Where the finished sweep's runs lie."""
    root = tmp_path_factory.mktemp("sweep")
    done = sweep_command(root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.process
def test_a_sweep_trains_every_module_with_every_seed(sweep):
    """Three modules times three seeds give nine finished runs, no two of them alike."""
    runs = summaries(sweep)
    assert sorted((run["module"], run["seed"]) for run in runs) == sorted(
        product((module.value for module in Module), SEEDS)
    )
    assert len({run["nll_forward"] for run in runs}) == len(runs)


@pytest.mark.process
def test_the_report_of_a_sweep_averages_its_seeds(sweep, revlm_command, tmp_path):
    """Each arm is the mean of its three runs, each difference pairs them by seed, and n says so."""
    page = revlm_command("report", f"runs={sweep}", f"run.dir={tmp_path}", check=True).stdout
    rows = list(csv.DictReader((tmp_path / "tables" / "sweep.csv").open()))
    assert {(row["n"], row["seeds"]) for row in rows} == {("3", "0 1 2")}
    found = {(row["module"], row["measure"]): float(row["mean"]) for row in rows if row["table"] == "arm"}
    runs = summaries(sweep)
    expected = {
        (module.value, measure): sum(run[measure] for run in runs if run["module"] == module.value) / 3
        for module in Module
        for measure in ("nll_forward", "nll_reverse", "gap")
    }
    assert found == pytest.approx(expected)
    assert sum(row["table"] == "comparison" for row in rows) == 3
    for module in Module:
        line = next(line for line in page.splitlines() if line.startswith(f"| from_scratch_{module.value}"))
        assert line.count("n=3") == 3


@pytest.mark.process
def test_a_finished_sweep_starts_no_run_again(sweep, sweep_command):
    """The same command with run.id=NAME ckpt_path=last finds nine finished runs and leaves their records."""

    def records():
        return {
            path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sweep.glob("*/*/metrics.jsonl")
        }

    before = records()
    again = sweep_command(sweep)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is finished already.") == 9
    assert "step " not in again.stdout + again.stderr
    assert records() == before


@pytest.mark.process
@pytest.mark.parametrize(
    "launcher",
    [("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), ("hydra/launcher=submitit_local",)],
    ids=["joblib", "submitit_local"],
)
def test_a_launcher_changes_no_number(sweep, revlm_command, tmp_path, launcher):
    """Jobs of their own processes finish with the losses that one process after another gives, to the bit."""
    options = ("+experiment=from_scratch_mixed", *SMOKE, f"run.root={tmp_path}", "run.id=one")
    done = revlm_command("train", "-m", *launcher, "seed=0,1", *options)
    assert done.returncode == 0, done.stderr
    assert sorted(run["seed"] for run in summaries(tmp_path)) == [0, 1]
    for seed in (0, 1):
        mine = tmp_path / "from_scratch_mixed" / f"one_{seed}"
        # The sweep's jobs 6, 7 and 8 are the mixed ones.
        assert losses(mine) == losses(sweep / "from_scratch_mixed" / f"one_{6 + seed}")


@pytest.mark.process
def test_a_job_that_fails_stops_no_other(revlm_command, tmp_path):
    """The other runs of a sweep finish; then the mistake is said in one line with exit code 2."""
    options = ("+experiment=from_scratch_forward", *SMOKE, f"run.root={tmp_path}")
    done = revlm_command("train", "-m", "optimizer.lr=-1,0.003", *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: optimizer.lr=-1.0: set it to 0 or more."
    assert "Traceback" not in done.stderr
    assert len(summaries(tmp_path)) == 1


@pytest.mark.parametrize(
    ("sweep", "job", "arm"),
    [
        ("study_models", ("+experiment=from_scratch_mixed",), "from_scratch_mixed_en"),
        ("study_languages", ("+experiment=from_scratch_mixed", "data=sample_de"), "from_scratch_mixed_de"),
        ("study_continued", ("+experiment=continued_mixed",), "continued_mixed_en"),
        ("study_controls", ("+experiment=from_scratch_mixed", "data=markov"), "from_scratch_mixed_markov"),
        (
            "study_selected",
            ("+experiment=continued_forward", "name=selected_top_s", "data=files"),
            "selected_top_s",
        ),
    ],
)
def test_a_studys_runs_lie_under_their_arm_and_seed(compose, sweep, job, arm):
    """A model says the arm by whose name its study's scripts find it, and the seed."""
    config = compose(f"+sweep={sweep}", *job, "seed=3")
    assert (config.arm, config.hydra.sweep.subdir) == (arm, f"{arm}/3")


def test_slurm_jobs_compose(compose, tmp_path):
    """A cluster's options reach its launcher, and its job files lie beside the sweep's runs."""
    config = compose(
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=gpu",
        "hydra.launcher.gpus_per_node=1",
        "hydra.launcher.timeout_min=600",
        f"run.root={tmp_path}",
    )
    options = config.hydra.launcher
    assert (options.partition, options.gpus_per_node, options.timeout_min) == ("gpu", 1, 600)
    assert options.submitit_folder == f"{tmp_path}/.submitit/%j"
    assert isinstance(hydra.utils.instantiate(options), Launcher)
