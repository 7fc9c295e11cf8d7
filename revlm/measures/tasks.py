"""Evaluation tasks for lm-eval: nine that run offline, files of one's own, and lm-eval's stock tasks."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.tasks import TaskManager

from revlm.config import QuestionReading
from revlm.data.question_sets import BENCHMARKS, Question, own_questions, question_file
from revlm.errors import UserError, first_line

# lm-eval's own task where ours has the same name: lm_eval:mmlu.
STOCK = "lm_eval:"
# What can be read in reverse: an answer that is given, so that the question can be scored.
SCORED = ("multiple_choice", "loglikelihood")

_LISTED = "{% for option in options %}{{ letters[loop.index0] }}. {{ option }}\n{% endfor %}Answer:"


@dataclass(frozen=True)
class Prompt:
    """How a question is put: lm-eval's stock prompt of that benchmark as far as the file's fields go.

    Attributes:
        text: Jinja over question, passage, options and letters.
        choices: what is scored, "letters" or the "options" themselves.
        length_norm: whether the stock task reports acc_norm as well.
        description: stands before few-shot examples and question.
    """

    text: str
    choices: str
    length_norm: bool = False
    description: str = ""


PROMPTS: dict[str, Prompt] = {
    # The stock description names the subject, which the file does not.
    "mmlu": Prompt(
        "{{question}}\n" + _LISTED,
        "letters",
        description="The following are multiple choice questions (with answers).\n\n",
    ),
    "commonsense_qa": Prompt("Question: {{question}}\n" + _LISTED, "letters"),
    "piqa": Prompt("Question: {{question}}\nAnswer:", "options", length_norm=True),
    "siqa": Prompt("Q: {{passage}} {{question}}\nA:", "options"),
    "openbookqa": Prompt("{{question}}", "options", length_norm=True),
    "logiqa": Prompt(
        "Passage: {{passage}}\nQuestion: {{question}}\nChoices:\n" + _LISTED, "options", length_norm=True
    ),
    # The stock task has four options; these are the original five.
    "medqa": Prompt("Question: {{question}}\n" + _LISTED, "letters"),
    "boolq": Prompt("{{passage}}\nQuestion: {{question}}?\nAnswer:", "options"),
    "pubmedqa": Prompt("Abstract: {{passage}}\nQuestion: {{question}}\nAnswer:", "options"),
}
OWN = Prompt("{% if passage %}{{passage}}\n{% endif %}Question: {{question}}\n" + _LISTED, "letters")


class _Data:
    """Questions as lm-eval asks for them: a callable, whose text stands in the results for where they are from."""

    def __init__(self, origin: str, questions: list[Question]) -> None:
        self.origin, self.questions = origin, questions

    def __call__(self, **_: Any) -> DatasetDict:
        return DatasetDict({"test": Dataset.from_list(list(self.questions))})

    def __str__(self) -> str:
        return self.origin

    def __deepcopy__(self, _: Any) -> _Data:
        return self


def load_tasks(names: Sequence[str], reading: QuestionReading) -> list[Task | Group]:
    """Tasks by name, their questions read and checked.

    Args:
        names: of offline tasks, paths of JSONL files, or names of lm-eval's stock tasks, groups and tags.
        reading: the direction they are for.

    Raises:
        UserError: an unknown name, a file without gold labels, questions that cannot be fetched, or a
            task that has no answer to read in reverse.
    """
    # It warns of how the questions are handed over, and later of every request that is too long: these are counted.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager: TaskManager | None = None
    tasks: list[Task | Group] = []
    own: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if name in BENCHMARKS:
            benchmark = BENCHMARKS[name]
            tasks.append(offline_task(name, benchmark.origin, benchmark.read(), PROMPTS[name], reading))
        elif stem := question_file(name):
            path = Path(name)
            if stem in BENCHMARKS or stem in own:
                other = own.get(stem, f"the offline task {stem}")
                raise UserError(
                    f"tasks: {name} has the name of {other}, and results go by names: rename the file."
                )
            own[stem] = name
            tasks.append(offline_task(stem, path.name, own_questions(path), OWN, reading))
        else:
            manager = manager or TaskManager()
            tasks += _stock(name.removeprefix(STOCK), manager)
    _check(tasks, reading)
    return tasks


def offline_task(
    name: str, origin: str, questions: list[Question], prompt: Prompt, reading: QuestionReading
) -> ConfigurableTask:
    """A multiple-choice task over questions that are at hand, in the order in which `limit` takes them.

    Few-shot examples come from the same questions, never the one that is asked. The results name their origin.
    """
    # acc_norm divides by the answer's length, which is only scored forward.
    metrics = ["acc", "acc_norm"] if prompt.length_norm and reading is QuestionReading.forward else ["acc"]
    return ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": _Data(origin, questions),
            "test_split": "test",
            "fewshot_split": "test",
            "output_type": "multiple_choice",
            "description": prompt.description,
            "doc_to_text": prompt.text,
            "doc_to_choice": prompt.choices,
            "doc_to_target": "gold",
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in metrics
            ],
            "metadata": {"version": 1.0},
        }
    )


def _stock(name: str, manager: TaskManager) -> list[Task | Group]:
    if name not in manager.all_tasks:
        known = list(dict.fromkeys([*BENCHMARKS, *manager.all_tasks]))
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UserError(
            f"tasks: there is no task {name}. {hint}Offline: {', '.join(BENCHMARKS)}, or a .jsonl file of "
            "questions; online also lm-eval's own."
        )
    try:
        loaded = manager.load([name])
    except Exception as error:
        # Each library says in its own way that it cannot reach the hub.
        raise UserError(
            f"the questions of lm-eval's task {name} could not be fetched ({first_line(error)}): "
            f"try again with a network, or use an offline task: {', '.join(BENCHMARKS)}."
        ) from error
    return list(loaded["groups"].values())[:1] or list(loaded["tasks"].values())


def _check(tasks: Sequence[Task | Group], reading: QuestionReading) -> None:
    if reading is QuestionReading.forward:
        return
    for task in tasks:
        for single in task.get_all_tasks() if isinstance(task, Group) else [task]:
            if single.OUTPUT_TYPE not in SCORED:
                raise UserError(
                    f"tasks: {single.task_name} asks for {single.OUTPUT_TYPE}, which has no answer to read "
                    "in reverse: use direction=forward, or multiple-choice tasks."
                )
