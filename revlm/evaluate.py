"""Questions with gold labels, answered in either direction: `python -m revlm.evaluate model=smollm2 tasks=[mmlu]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm import cli
from revlm.checks import check
from revlm.config import EvaluateConfig, QuestionReading
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.sources import each_model

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task

    from revlm.models.language_model import LanguageModel

LONGEST_FOLDER_NAME = 120


def evaluate(config: EvaluateConfig) -> None:
    """Each model in each direction; the table on the terminal, the folder last."""
    check(config)
    readings, sources = _readings(config), each_model(config.model)
    if not sys.stderr.isatty():
        # lm-eval's own bars ask nobody whether someone sees them.
        os.environ.setdefault("TQDM_DISABLE", "1")
    from revlm.measures.tasks import load_tasks

    tasks = {reading: load_tasks(config.tasks, reading) for reading in readings}
    from revlm.cache import write_atomically
    from revlm.models.language_model import open_model
    from revlm.pages.evaluations import TABLE, evaluation_tables
    from revlm.records import folder as run_folder

    folder = Path(config.run.dir)
    arms: list[Path] = []
    with run_folder.claim(folder):
        run_folder.write_config(folder, cli.plain(config))
        for source in sources:
            lm = open_model(source, config.model, Path(config.cache.dir), window=None)
            for reading in readings:
                arms.append(_arm(folder, lm, reading, alone=len(sources) * len(readings) == 1))
                _evaluate_arm(config, lm, reading, tasks[reading], arms[-1])
        table = evaluation_tables(dict.fromkeys(arms))
        write_atomically(folder / TABLE, table)
    print(table)
    print(folder)


def _readings(config: EvaluateConfig) -> list[QuestionReading]:
    names = config.direction.name if isinstance(config.direction.name, list) else [config.direction.name]
    known = [reading.value for reading in QuestionReading]
    for name in names:
        if name not in known:
            raise UserError(f"direction={name}: choose one of {', '.join(known)}, or a list of them.")
    if not names or not config.tasks:
        raise UserError("nothing to do: give at least one of tasks= and one direction=.")
    return [QuestionReading(name) for name in dict.fromkeys(names)]


def _arm(folder: Path, lm: LanguageModel, reading: QuestionReading, *, alone: bool) -> Path:
    from revlm.pages.files import ARMS

    if alone:
        return folder
    name = f"{lm.name[:LONGEST_FOLDER_NAME]}_{lm.fingerprint()[:6]}_{reading.value}"
    return folder / ARMS / name.replace("/", "_")


def _evaluate_arm(
    config: EvaluateConfig,
    lm: LanguageModel,
    reading: QuestionReading,
    tasks: list[Task | Group],
    folder: Path,
) -> None:
    """One model in one direction, unless its folder holds that already."""
    from revlm.measures.evaluation import DIRECTIONS, evaluate_model
    from revlm.models.language_model import arm_and_seed
    from revlm.pages.evaluations import read_evaluation, write_evaluation
    from revlm.pages.files import EVALUATION
    from revlm.records.results import commit, versions

    if not config.allow:
        for direction in DIRECTIONS[reading]:
            lm.check_direction(direction)
    fingerprint = lm.fingerprint()
    if (folder / EVALUATION).is_file():
        if read_evaluation(folder).facts["fingerprint"] != fingerprint:
            raise UserError(f"{folder} holds results of other weights: choose another run.dir=.")
        print(f"{folder} is finished already.", flush=True)
        return
    evaluation = evaluate_model(lm, tasks, reading, config)
    facts = {
        "model": lm.name,
        **{f"model_{key}": value for key, value in arm_and_seed(dict.fromkeys(Direction, lm)).items()},
        "fingerprint": fingerprint,
        "directions": [direction.value for direction in lm.directions],
        "direction": reading.value,
        "weight": config.direction.weight,
        "num_fewshot": config.num_fewshot,
        "seed": config.seed,
        "limit": config.limit,
        "begin": lm.begin,
        "too_long": evaluation.too_long,
        "versions": versions(),
        "commit": commit(),
    }
    write_evaluation(folder, evaluation.results, evaluation.samples, facts)
    _log(config, folder)


def _log(config: EvaluateConfig, folder: Path) -> None:
    """Accuracies and standard errors to W&B, one run an evaluation."""
    from revlm import keys
    from revlm.pages.evaluations import read_evaluation, scalars
    from revlm.records.wandb_run import RunLabels, WandbRun

    run = read_evaluation(folder)
    direction = str(run.facts["direction"])
    tags = (str(run.facts["model"]), direction, *run.samples)
    labels = RunLabels(group="evaluate", job_type="evaluate", name=run.label, tags=tags)
    row: dict[str, Any] = {
        keys.evaluation(task, direction, metric): value
        for task, metrics in scalars(run).items()
        for metric, value in metrics.items()
    }
    wandb_run = WandbRun(folder, config.logger, cli.plain(config), labels)
    wandb_run.log(row)
    wandb_run.finish(row, [])


if __name__ == "__main__":
    cli.run(evaluate)
