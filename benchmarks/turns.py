"""Ways to do one thing, timed in turns, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

# A row of a table: words and numbers by column. `ratio` says how many times as fast as the peer, `aim` what was hoped for.
Row = dict[str, Any]


def take_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; a first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            took = way()
            if number:
                seconds[name].append(took)
        print(f"  round {number} of {rounds}", file=sys.stderr, flush=True)
    return seconds


def times_faster(peer: list[float], ours: list[float]) -> float:
    """How many times as fast as a peer: the median over rounds, in each of which both ran side by side."""
    return statistics.median(p / o for p, o in zip(peer, ours, strict=True))


def show(title: str, rows: list[Row]) -> None:
    """Print rows as a table."""
    print(f"\n{title}")
    if not rows:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    sys.stdout.flush()


def text(value: Any) -> str:
    """A cell: large numbers whole, small ones to three digits."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
