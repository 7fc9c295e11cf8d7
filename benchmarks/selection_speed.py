"""How fast is a selection? The best documents of ten million scores, beside pandas and DuckDB.

python -m benchmarks.selection_speed [ROWS]

Each takes the documents of the highest s, whole ones, until a budget of a tenth of all tokens is full, out of one
score table, and ends with their ids in memory. Ties go by id with the peers and by a hash of it with us, and only we
fill the budget exactly and check that no id occurs twice. Each runs in a process of its own, in turns.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.memory import Peak
from revlm.config import Rule
from revlm.scores.table import SCHEMA, SCORES, write_table

ROWS, BATCH, ROUNDS, SHARE = 10_000_000, 100_000, 3, 10


def write_scores(path: Path, num_rows: int) -> int:
    """A score table of so many made-up documents; returns a budget of a tenth of its tokens."""
    rng, total = np.random.default_rng(0), 0

    def batches() -> Any:
        nonlocal total
        for at in range(0, num_rows, BATCH):
            size = min(BATCH, num_rows - at)
            tokens = np.exp(rng.normal(6, 1, size)).astype(np.int64) + 2
            forward, reverse = rng.normal(5, 0.5, (2, size))
            total += int(tokens.sum())
            columns: dict[str, Any] = {name: [None] * size for name in SCHEMA.names}
            columns |= {
                "doc_id": [
                    f"corpus/part-{number // 1000:05d}.jsonl:{number}" for number in range(at, at + size)
                ],
                "domain": np.array(["web", "books", "news", "law"])[rng.integers(0, 4, size)],
                "language": ["en"] * size,
                "num_tokens": tokens,
                "num_bytes": tokens * 4,
                "nll_forward": forward,
                "nll_reverse": reverse,
                "s": forward - reverse,
            }
            yield pa.RecordBatch.from_pydict(columns, SCHEMA)

    write_table(path, batches(), SCHEMA)
    return total // SHARE


def with_revlm(path: Path, budget: int) -> int:
    """Our choice."""
    from revlm.selection.candidates import read_tables
    from revlm.selection.choice import choose

    candidates = read_tables([path], "s").candidates
    return int(choose(candidates, rule=Rule.top_s, budget_tokens=budget).sum())


def with_pandas(path: Path, budget: int) -> int:
    """Sort by s, add up tokens."""
    import pandas as pd

    table = pd.read_parquet(path, columns=["doc_id", "num_tokens", "s"])
    table = table.sort_values(["s", "doc_id"], ascending=[False, True])
    return len(table[table["num_tokens"].cumsum() <= budget]["doc_id"])


def with_duckdb(path: Path, budget: int) -> int:
    """The same in SQL."""
    import duckdb

    query = (
        "select doc_id from (select doc_id, sum(num_tokens) over (order by s desc, doc_id) as taken "
        f"from read_parquet('{path}')) where taken <= {budget}"
    )
    return len(duckdb.sql(query).to_arrow_table())


WAYS: dict[str, Callable[[Path, int], int]] = {
    "revlm": with_revlm,
    "pandas": with_pandas,
    "duckdb": with_duckdb,
}


def rows(num_rows: int = ROWS, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Measure each way that is installed.

    Returns:
        One dict a way: way, rows, documents (chosen), seconds (median of the rounds), peak_mb (highest
        anonymous memory), ratio (the fastest peer's seconds over its own).
    """
    ways = [way for way in WAYS if way != "duckdb" or importlib.util.find_spec(way)]
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SCORES
        budget = write_scores(path, num_rows)
        for _ in range(rounds):
            for way in ways:
                command = [sys.executable, "-m", "benchmarks.selection_speed", "--measure", way, str(path)]
                said = subprocess.run([*command, str(budget)], check=True, stdout=subprocess.PIPE, text=True)
                found[way].append(json.loads(said.stdout.splitlines()[-1]))
    seconds = {way: statistics.median(line["seconds"] for line in lines) for way, lines in found.items()}
    fastest = min(value for way, value in seconds.items() if way != "revlm")
    return [
        {
            "way": way,
            "rows": num_rows,
            "documents": lines[0]["documents"],
            "seconds": round(seconds[way], 2),
            "peak_mb": max(line["peak_mb"] for line in lines),
            "ratio": round(fastest / seconds[way], 2),
        }
        for way, lines in found.items()
    ]


def measure(way: str, path: Path, budget: int) -> None:
    """One choice in this process, as a line of JSON; libraries are imported before."""
    importlib.import_module({"revlm": "revlm.selection.choice"}.get(way, way))
    with Peak() as peak:
        documents = WAYS[way](path, budget)
    print(json.dumps({"documents": documents, "seconds": peak.seconds, "peak_mb": peak.anonymous_mb}))


def main(num_rows: int) -> None:
    """Measure and print a table."""
    print(f"{'way':8} {'rows':>12} {'documents':>10} {'seconds':>8} {'anonymous MB':>13} {'ratio':>6}")
    for row in rows(num_rows):
        print(
            f"{row['way']:8} {row['rows']:>12,} {row['documents']:>10,} {row['seconds']:>8} {row['peak_mb']:>13} "
            f"{row['ratio']:>6}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else ROWS)
