"""Who else scores the shards: other processes on this machine, Ray, or Slurm, through datatrove.

Shards and their markers are the only truth; an executor merely has workers call `score_shards`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dill
import multiprocess
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from revlm.cache import write_atomically
from revlm.config import Executor, SlurmConfig
from revlm.errors import UserError
from revlm.scores.merge import merge
from revlm.scores.shards import Job, ShardedScores, progress, score_shards
from revlm.scores.table import SUMMARY

POLL_SECONDS = 1.0


class ShardStep(PipelineStep):
    """A worker's shards, as a datatrove step."""

    name = "revlm: shards"
    type = "SCORER"

    def __init__(self, job: Job, shards: list[int], threads: int) -> None:
        super().__init__()
        self.job, self.shards, self.threads = job, shards, threads

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Score every world_size-th shard from `rank` on."""
        yield from data or ()
        try:
            score_shards(self.job, self.shards[rank::world_size], self.threads)
        except UserError as error:
            # Executors wrap or swallow what a task raises; the command reads it from here.
            write_atomically(_errors(self.job) / f"{rank:05d}.txt", str(error))


class MergeStep(PipelineStep):
    """The run's files out of all its shards, for executors that outlive the command."""

    name = "revlm: merge"
    type = "SCORER"

    def __init__(self, job: Job, facts: dict[str, Any]) -> None:
        super().__init__()
        self.job, self.facts = job, facts

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Merge, on one rank.

        Raises:
            UserError: shards are missing.
        """
        yield from data or ()
        del world_size
        if rank == 0 and not (self.job.folder / SUMMARY).exists():
            scores = ShardedScores(self.job)
            check_complete(scores)
            merge(scores, self.facts)


def score_by_workers(scores: ShardedScores, shards: list[int], executor: Executor, workers: int) -> None:
    """Score shards by several processes, on this machine or on Ray's, and wait for them.

    Raises:
        UserError: what a worker could not do.
    """
    job = scores.job
    shutil.rmtree(_errors(job), ignore_errors=True)
    # A worker without a shard would only load a model.
    workers = min(workers, len(shards))
    cores = len(os.sched_getaffinity(0))
    common: dict[str, Any] = {
        "pipeline": [ShardStep(job, shards, max(1, cores // workers))],
        "tasks": workers,
        "workers": workers,
        "logging_dir": str(job.folder / "workers"),
        # Markers of shards say what is done, not datatrove's.
        "skip_completed": False,
    }
    logger.remove()
    with _progress(scores):
        if executor is Executor.local:
            # Workers are forked from a process that has imported everything and begun nothing.
            multiprocess.set_forkserver_preload([__name__])
            QuietLocalExecutor(**common).run()
        else:
            _run_on_ray(common)
    check_complete(scores)


class QuietLocalExecutor(LocalPipelineExecutor):
    """Keeps its log in its folder: a progress bar stands on the terminal."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        # datatrove prints the log of local rank 0, and afterwards that of all.
        stats = super()._run_for_rank(rank, max(1, local_rank), node_rank)
        logger.remove()
        return stats


def submit_to_slurm(
    job: Job, shards: list[int], workers: int, slurm: SlurmConfig, facts: dict[str, Any]
) -> Path:
    """Send an array job that scores the shards, and one that merges them when it is done.

    Args:
        job: the run.
        shards: that are still to be scored.
        workers: tasks of the array.
        slurm: what each asks for; dry_run writes the scripts only.
        facts: for the summary.

    Returns:
        The script of the array job.

    Raises:
        UserError: there is no sbatch here.
    """
    if not slurm.dry_run and shutil.which("sbatch") is None:
        raise UserError(
            "executor=slurm: there is no sbatch here: run this on a machine that can submit jobs, or set "
            "slurm.dry_run=true to write the scripts only."
        )
    asked = ("time", "partition", "cpus_per_task", "mem_per_cpu_gb", "env_command")
    common: dict[str, Any] = {name: getattr(slurm, name) for name in asked}
    common |= {"skip_completed": False, "with_srun": False, "qos": None}
    tasks = min(workers, len(shards)) or 1
    scoring = SlurmPipelineExecutor(
        [ShardStep(job, shards, slurm.cpus_per_task)],
        tasks=tasks,
        job_name="revlm-score",
        gpus_per_task=slurm.gpus_per_task,
        logging_dir=str(job.folder / "workers"),
        **common,
    )
    merging = SlurmPipelineExecutor(
        [MergeStep(job, facts)],
        tasks=1,
        job_name="revlm-merge",
        depends=scoring,
        logging_dir=str(job.folder / "workers" / "merge"),
        **common,
    )
    if slurm.dry_run:
        return _write_script(scoring, tasks)
    merging.run()
    return Path(scoring.logging_dir.resolve_paths("launch_script.slurm"))


def check_complete(scores: ShardedScores) -> None:
    """Refuse to merge before every shard is there.

    Raises:
        UserError: a worker's own words, or which shard is missing.
    """
    if said := sorted(_errors(scores.job).glob("*.txt")):
        raise UserError(said[0].read_text())
    if missing := scores.missing():
        raise UserError(
            f"{len(missing)} of {len(scores)} shards are missing, {scores.path(missing[0])} among them: a worker was "
            f"killed (its log is in {scores.job.folder / 'workers'}); run the same command again to continue."
        )


def _run_on_ray(common: dict[str, Any]) -> None:
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    try:
        threads = common["pipeline"][0].threads
        RayPipelineExecutor(cpus_per_task=threads, mem_per_cpu_gb=0, **common).run()
    finally:
        if started:
            ray.shutdown()


def _write_script(executor: SlurmPipelineExecutor, tasks: int) -> Path:
    """What `launch_job` would send, for `sbatch` by hand."""
    folder = Path(executor.logging_dir.resolve_paths(""))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "executor.pik").open("wb") as file:
        dill.dump(executor, file)
    (folder / "ranks_to_run.json").write_text(json.dumps(list(range(tasks))))
    script = folder / "launch_script.slurm"
    command = f"launch_pickled_pipeline {folder / 'executor.pik'}"
    script.write_text(executor.get_launch_file_contents(executor.get_sbatch_args(tasks), command))
    return script


@contextmanager
def _progress(scores: ShardedScores) -> Iterator[None]:
    """A bar over all workers, read off the markers of their shards."""
    ended = threading.Event()

    def watch() -> None:
        with progress(scores) as bar:
            while not ended.wait(POLL_SECONDS):
                bar.update(2 * scores.tokens_done() - bar.n)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _errors(job: Job) -> Path:
    return job.folder / "workers" / "errors"
