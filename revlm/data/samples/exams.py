"""Questions of Ukrainian state examinations, carried by evals."""

from __future__ import annotations

from collections.abc import Iterator

from revlm.data.samples.packages import Row, json_lines, unique

# Questions on the language quote mistakes and words with gaps on purpose.
_LANGUAGE = "з української мови"


def ukrainian() -> Iterator[Row]:
    """Questions with their choices, each text once, without those about the language itself."""
    rows = enumerate(json_lines("evals", "evals/registry/data/ukraine_eit/samples.jsonl"))
    return unique(
        Row(str(number), row["input"][-1]["content"])
        for number, row in rows
        if _LANGUAGE not in row["input"][0]["content"]
    )
