"""Evaluations as files: lm-eval's results, a line a question, and tables that set several side by side."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from revlm.cache import write_atomically
from revlm.errors import UserError
from revlm.markup import markdown
from revlm.pages.files import EVALUATION, Folder
from revlm.pages.text import page
from revlm.statistics.bootstrap import holm
from revlm.statistics.effect import Effect
from revlm.statistics.paired import paired_difference, proportion

TABLE = "table.md"
NEEDED = ("model", "fingerprint", "direction", "too_long")

NOTES = """\
Accuracy with Wilson's 95% interval over n questions. chance: guessing evenly. majority: always the most frequent
answer, so what a model reaches that has not read the question. reverse ranks answers by log p(question | answer)."""
DIFFERENCE_NOTES = """\
Each row subtracts the first column's arm on the questions that both answered; above zero the later arm is better. 95% intervals
from 10,000 resamples of questions; p of McNemar's exact test, and corrected for the number of rows after Holm."""


@dataclass(frozen=True)
class EvaluationRun:
    """One model in one direction.

    Attributes:
        folder: of its files.
        facts: what revlm adds to results.json: model, fingerprint, direction, weight, too_long, ...
        results: lm-eval's own, by task.
        samples: by task, its questions in order.
    """

    folder: Path
    facts: dict[str, Any]
    results: dict[str, dict[str, Any]]
    samples: dict[str, list[dict[str, Any]]]

    @property
    def arm(self) -> tuple[Any, ...]:
        """What makes two evaluations one arm: the same weights, read and asked in the same way."""
        keys = ("model", "fingerprint", "direction", "weight", "num_fewshot", "seed")
        return tuple(self.facts.get(key) for key in keys)

    @property
    def label(self) -> str:
        """Model and direction, with the options that are not usual."""
        parts = [str(self.facts["model"]), str(self.facts["direction"])]
        if (weight := self.facts.get("weight", 1.0)) != 1 and self.facts["direction"] == "combined":
            parts.append(f"weight {weight:g}")
        if shots := self.facts.get("num_fewshot"):
            parts.append(f"{shots}-shot")
        return " ".join(parts)


def write_evaluation(
    folder: Path,
    results: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Mapping[str, Any],
) -> None:
    """samples_TASK.jsonl for each task, then results.json: lm-eval's dictionary with a `revlm` entry."""
    for task, rows in samples.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(folder / _samples_file(task), lines)
    whole = {**results, "revlm": dict(facts)}
    write_atomically(folder / EVALUATION, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def read_evaluation(folder: Path) -> EvaluationRun:
    """The finished evaluation in a folder.

    Raises:
        UserError: there is none, or a file is damaged.
    """
    files = Folder(folder, "remove the folder and evaluate again")
    if not (folder / EVALUATION).is_file():
        unfinished = f"no {EVALUATION}, so this evaluation is not finished: give its command again."
        raise UserError(f"{folder}: {unfinished}")
    whole = files.json(EVALUATION, ("n-samples", "results", "revlm"))
    samples: dict[str, list[dict[str, Any]]] = {}
    for task in whole["n-samples"]:
        name = _samples_file(task)
        samples[task] = files.parse(name, lambda text: [dict(json.loads(line)) for line in text.splitlines()])
        if any("question" not in row for row in samples[task]):
            raise files.damaged(name, "no question")
    if lost := [key for key in NEEDED if key not in whole["revlm"]]:
        raise files.damaged(EVALUATION, f"no {', '.join(lost)}")
    return EvaluationRun(folder, dict(whole["revlm"]), dict(whole["results"]), samples)


def find_evaluations(root: Path) -> list[Path]:
    """Folders of finished evaluations, at any depth, by name."""
    return sorted(path.parent for path in root.rglob(EVALUATION) if path.is_file())


def evaluation_tables(folders: Iterable[Path]) -> str:
    """Accuracy by task and arm, and paired differences from the first arm, as Markdown.

    Args:
        folders: of finished evaluations; evaluations of one arm, over other tasks, share a column.

    Raises:
        UserError: a file is damaged.
    """
    arms: dict[tuple[Any, ...], list[EvaluationRun]] = {}
    for run in map(read_evaluation, folders):
        arms.setdefault(run.arm, []).append(run)
    labels = _labels(list(arms.values()))
    columns = [_by_task(runs) for runs in arms.values()]
    tasks = list(dict.fromkeys(task for column in columns for task in column))
    accuracies = {task: [_accuracy(column.get(task)) for column in columns] for task in tasks}
    rows = [[task, *_guesses(columns, task), *accuracies[task]] for task in tasks]
    parts = ["## Evaluation", markdown(["task", "chance", "majority", *labels], rows), NOTES]
    if differences := _differences(columns, labels, tasks):
        parts += ["## Paired differences", differences, DIFFERENCE_NOTES]
    if cut := _cut(arms.values(), labels):
        parts += ["## Longer than the context", cut]
    return page(parts)


Column = dict[str, list[dict[str, Any]]]


def _by_task(runs: Sequence[EvaluationRun]) -> Column:
    """Each task's questions; of a task that was evaluated twice, the larger number of questions."""
    column: Column = {}
    for run in runs:
        for task, rows in run.samples.items():
            scored = [row for row in rows if "acc" in row]
            if len(scored) > len(column.get(task, [])):
                column[task] = scored
    return column


def _labels(arms: Sequence[Sequence[EvaluationRun]]) -> list[str]:
    """A name for each arm; equal names of different weights are told apart by a piece of their hash."""
    names = [runs[0].label for runs in arms]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    return [
        f"{name} ({runs[0].facts['fingerprint'][:6]})" if name in repeated else name
        for name, runs in zip(names, arms, strict=True)
    ]


def _guesses(columns: Sequence[Column], task: str) -> list[str]:
    rows = max((column.get(task, []) for column in columns), key=len)
    choices = [len(row[key]) for row in rows for key in sorted(row) if key.startswith("loglikelihood_")]
    golds = Counter(row["gold"] for row in rows if isinstance(row["gold"], int))
    chance = f"{np.mean([1 / count for count in choices]):.4f}" if choices else ""
    return [chance, f"{max(golds.values()) / len(rows):.4f}" if golds else ""]


def _accuracy(rows: list[dict[str, Any]] | None) -> str:
    return proportion(_correct(rows)).text(".4f") if rows else ""


def _correct(rows: Sequence[Mapping[str, Any]]) -> Any:
    return np.array([row["acc"] == 1 for row in rows], dtype=bool)


def _differences(columns: Sequence[Column], labels: Sequence[str], tasks: Sequence[str]) -> str:
    found: list[tuple[str, str, Effect]] = []
    for task in tasks:
        first, *others = (
            {(row["doc_id"], row["question"]): row for row in column.get(task, [])} for column in columns
        )
        for later, label in zip(others, labels[1:], strict=True):
            if both := [key for key in later if key in first]:
                one, other = (_correct([arm[key] for key in both]) for arm in (later, first))
                found.append((task, label, paired_difference(one, other)))
    corrected = holm([difference.p for _, _, difference in found])
    rows = [
        [task, label, labels[0], difference.text("+.4f"), _p(difference.p), _p(adjusted)]
        for (task, label, difference), adjusted in zip(found, corrected, strict=True)
    ]
    return markdown(["task", "arm", "minus", "difference", "p", "p (Holm)"], rows) if rows else ""


def _p(value: float) -> str:
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"  # noqa: PLR2004 -- four digits


def _cut(arms: Iterable[Sequence[EvaluationRun]], labels: Sequence[str]) -> str:
    rows = [
        [task, label, direction, f"{count} of {len(run.samples[task])}"]
        for runs, label in zip(arms, labels, strict=True)
        for run in runs
        for task, counts in run.facts["too_long"].items()
        for direction, count in counts.items()
        if count
    ]
    return markdown(["task", "arm", "direction", "questions cut to fit"], rows) if rows else ""


def scalars(run: EvaluationRun) -> dict[str, dict[str, float]]:
    """Each task's numbers as lm-eval has them, accuracies and standard errors, by plain names."""
    return {
        task: {
            key.partition(",")[0]: float(value)
            for key, value in metrics.items()
            if "," in key and isinstance(value, int | float) and math.isfinite(value)
        }
        for task, metrics in run.results.items()
    }


def _samples_file(task: str) -> str:
    return f"samples_{task.replace('/', '__')}.jsonl"
