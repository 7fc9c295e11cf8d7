"""The same shards under every executor: processes, Ray, and Slurm's script."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from revlm.config import CorpusConfig, CurvesConfig, Executor, ScoreConfig, SlurmConfig
from revlm.errors import UserError
from revlm.integrations import executors
from revlm.scores.merge import merge
from revlm.scores.shards import Job, ShardedScores, score_here

FILES = ("scores.parquet", "curves.csv", "intersection.json")


@pytest.fixture
def make_job(smoke_run, cache_dir, tmp_path):
    """A run over two domains in shards of some 5,000 tokens."""

    def make(name: str) -> Job:
        config = ScoreConfig(
            data=CorpusConfig(domains=["finance", "bbc_news"], max_bytes_per_domain=60_000),
            shard_tokens=5_000,
            curves=CurvesConfig(resamples=10),
        )
        config.cache.dir = str(cache_dir)
        return Job(config, str(smoke_run / "model"), None, tmp_path / name)

    return make


@pytest.fixture
def reference(make_job):
    """The files that one process leaves."""
    scores = ShardedScores(make_job("here"))
    assert len(scores) > 4
    score_here(scores, scores.missing())
    merge(scores, {})
    return {name: (scores.job.folder / name).read_bytes() for name in FILES}


@pytest.mark.process
@pytest.mark.parametrize("executor", [Executor.local, Executor.ray])
def test_workers_leave_the_bytes_that_one_process_leaves(make_job, reference, executor):
    """Who scores a shard, on how many cores, changes nothing."""
    scores = ShardedScores(make_job(executor.value))
    executors.score_by_workers(scores, scores.missing(), executor, 2)
    merge(scores, {})
    assert {name: (scores.job.folder / name).read_bytes() for name in FILES} == reference


@pytest.mark.process
def test_a_workers_error_is_the_commands_error(make_job):
    """What a worker cannot do is said in its own words, whatever the executor makes of it."""
    job = make_job("broken")
    scores = ShardedScores(job)
    job.config.model.precision = "float8"
    with pytest.raises(UserError, match=r"model\.precision=float8"):
        executors.score_by_workers(scores, [0, 1], Executor.local, 2)


def test_a_missing_shard_is_never_merged_over(make_job):
    """A killed worker leaves shards undone, and the way on is named."""
    scores = ShardedScores(make_job("killed"))
    score_here(scores, [0, 1])
    with pytest.raises(UserError, match="run the same command again"):
        executors.check_complete(scores)


def test_without_sbatch_slurm_says_so(make_job, tmp_path, monkeypatch):
    """A laptop has no Slurm; the scripts can be written all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"slurm\.dry_run=true"):
        executors.submit_to_slurm(make_job("none"), [0], 1, SlurmConfig(), {})


@pytest.mark.process
def test_slurms_script_scores_its_shards(make_job, reference, tmp_path):
    """The script of the array job, run as each of its tasks, and the merge: the same bytes again.

    There is no cluster here: bash plays the node, with the variables and the one tool that Slurm
    would give it.
    """
    job = make_job("slurm")
    scores = ShardedScores(job)
    slurm = SlurmConfig(partition="cpu", time="01:00:00", cpus_per_task=1, mem_per_cpu_gb=3, dry_run=True)
    script = executors.submit_to_slurm(job, scores.missing(), 2, slurm, {})
    text = script.read_text()
    for line in ("partition=cpu", "time=01:00:00", "cpus-per-task=1", "mem-per-cpu=3G", "array=0-1"):
        assert f"#SBATCH --{line}" in text
    (tmp_path / "scontrol").write_text("#!/bin/bash\necho localhost\n")
    (tmp_path / "scontrol").chmod(0o755)
    bin_folder = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    for task in range(2):
        node = {"PATH": bin_folder, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "localhost"}
        run = subprocess.run(
            ["bash", str(script)], env=os.environ | node, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr[-3000:]
    list(executors.MergeStep(job, {}).run())
    assert {name: (job.folder / name).read_bytes() for name in FILES} == reference


@pytest.mark.process
def test_slurm_is_sent_two_jobs_of_which_one_waits(make_job, tmp_path, monkeypatch):
    """sbatch gets the array job, and the merge with a dependency on it.

    sbatch itself is a recorder here: there is no cluster.
    """
    recorder = tmp_path / "bin" / "sbatch"
    recorder.parent.mkdir()
    recorder.write_text(
        f'#!/bin/bash\necho "$@" >> {tmp_path}/sent\ncat "${{@: -1}}" >> {tmp_path}/scripts\n'
        f'echo "Submitted batch job $(wc -l < {tmp_path}/sent)"\n'
    )
    recorder.chmod(0o755)
    monkeypatch.setenv("PATH", f"{recorder.parent}:{os.environ['PATH']}")
    job = make_job("sending")
    executors.submit_to_slurm(job, ShardedScores(job).missing(), 2, SlurmConfig(partition="cpu"), {})
    sent, scripts = (tmp_path / "sent").read_text(), (tmp_path / "scripts").read_text()
    assert "--dependency=afterok:1" in sent
    assert scripts.count("launch_pickled_pipeline") == 2
    assert "revlm-score" in scripts
    assert "revlm-merge" in scripts
    assert json.loads((job.folder / "workers" / "ranks_to_run.json").read_text()) == [0, 1]
