"""Score documents in both directions: `python -m revlm.score model=runs/.../model data=sample`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm import cli
from revlm.checks import check
from revlm.config import Executor, ScoreConfig
from revlm.costs.opening import tell_scoring
from revlm.sources import readers

if TYPE_CHECKING:
    from revlm.scores.shards import Job


def score(config: ScoreConfig) -> None:
    """One model, a pair, or several of either, over one corpus."""
    check(config)
    started = time.perf_counter()
    models = readers(config.model)
    if config.estimate:
        tell_scoring(config, models, time.perf_counter() - started)
        return
    from revlm.records import folder as run_folder

    folder = Path(config.run.dir)
    with run_folder.claim(folder):
        run_folder.write_config(folder, cli.plain(config))
        if len(models) == 1:
            unreadable = _score_one(config, *models.popitem()[1], folder)
        else:
            unreadable = _score_several(config, models, folder)
    print(folder)
    cli.tell_unreadable(unreadable, f"everything else is scored, in {folder}.")


def _score_one(config: ScoreConfig, forward: str, reverse: str | None, folder: Path) -> list[str]:
    """Score with one model or pair; returns the files that could not be read."""
    from revlm.pages.scores.figures import are_drawn, draw_scores
    from revlm.pages.scores.run import read_score_run, score_table
    from revlm.pages.scores.tracking import log_score_run
    from revlm.records.results import commit, versions
    from revlm.scores.confounds import write_confounds
    from revlm.scores.merge import check_room, merge
    from revlm.scores.shards import Job, ShardedScores, check_identity, score_here
    from revlm.scores.table import SUMMARY

    job = Job(config, forward, reverse, folder)
    scores = ShardedScores(job)
    check_room(scores)
    check_identity(folder, scores.identity())
    facts: dict[str, Any] = {"versions": versions(), "commit": commit()}
    if (folder / SUMMARY).exists():
        print(f"{folder} is finished already.", flush=True)
    else:
        shards, started = scores.missing(), time.perf_counter()
        if config.executor is Executor.slurm and shards:
            return _submit(config, job, shards, facts)
        if config.executor is Executor.local and config.workers == 1:
            score_here(scores, shards)
        elif shards:
            from revlm.integrations import executors

            executors.score_by_workers(scores, shards, config.executor, config.workers)
        seconds = time.perf_counter() - started
        tokens = 2 * sum(scores.num_tokens(shard) for shard in shards)
        # Of this sitting: what an earlier one did was timed then.
        facts |= {"seconds": seconds, "tokens_per_second": tokens / seconds if shards else None}
        merge(scores, facts)
    run = read_score_run(folder)
    # Pictures come last: with them there, the table of confounds is there too.
    if not are_drawn(run):
        write_confounds(folder)
        draw_scores(folder)
    log_score_run(folder, config.logger, cli.plain(config))
    print(score_table(run))
    return scores.opened.corpus.unreadable


def _submit(config: ScoreConfig, job: Job, shards: list[int], facts: dict[str, Any]) -> list[str]:
    from revlm.integrations import executors

    script = executors.submit_to_slurm(job, shards, config.workers, config.slurm, facts)
    how = (
        f"send it with sbatch {script}"
        if config.slurm.dry_run
        else "it is sent, and a job that merges after it"
    )
    print(f"{len(shards)} shards for {config.workers} workers: {script}: {how}.")
    print("Run the same command with executor=local afterwards for tables and figures.")
    return []


def _score_several(config: ScoreConfig, models: dict[str, tuple[str, str | None]], folder: Path) -> list[str]:
    """Each model into a folder of its own; then means, spread and agreement."""
    from revlm.pages.scores.figures import are_drawn, draw_scores
    from revlm.pages.scores.run import read_score_run
    from revlm.pages.scores.tracking import log_score_run
    from revlm.scores.agreement import gather

    unreadable: list[str] = []
    folders = {name: folder / "models" / name for name in models}
    for name, pair in models.items():
        unreadable = _score_one(config, *pair, folders[name])
    print(gather(folders, folder))
    if not are_drawn(read_score_run(folder)):
        draw_scores(folder)
    log_score_run(folder, config.logger, cli.plain(config))
    return unreadable


if __name__ == "__main__":
    cli.run(score)
