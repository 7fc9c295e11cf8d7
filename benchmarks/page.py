"""docs/performance.md and its picture, from results.json alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.turns import Row, text
from revlm.cache import write_atomically
from revlm.markup import markdown

DOCS = Path(__file__).parent.parent / "docs"
TITLES = {
    "training": "Training: tokens a second beside peers",
    "loss": "Time to the loss of a bare AdamW loop",
    "scoring": "Scoring: tokens a second beside peers",
    "tokens": "Tokenising and caching",
    "selection": "Selecting from ten million rows",
    "waiting": "Waiting",
    "memory": "Memory at the peak",
    "cost": "What `python -m revlm.cost` predicts, beside what was measured",
    "bfloat16": "What bfloat16 costs S",
}
# A hand-written paragraph for each part: what was tried where a row falls short.
NOTES = DOCS / "performance_notes.md"


def write_page(results: dict[str, Any]) -> None:
    """Write the page and its picture.

    Args:
        results: by device and part: date, commit and rows.
    """
    notes = read_notes()
    lines = [
        "# How fast, beside what\n",
        "Every ratio is revlm's speed over a peer's, both timed in turns on one quiet machine (`python -m benchmarks`, `make bench`).",
        "Speeds by themselves say more about the machine. Aims were set before measuring; a row below its aim says so.\n",
        "![Ratios beside peers](performance.png)\n",
    ]
    for device, parts in results.items():
        lines.append(f"## {device}\n")
        for name in TITLES:
            if name in parts:
                lines += part_lines(name, parts[name], notes.get(name, ""))
    write_atomically(DOCS / "performance.md", "\n".join(lines).rstrip() + "\n")
    draw(results).savefig(DOCS / "performance.png", dpi=120)


def part_lines(name: str, part: dict[str, Any], note: str) -> list[str]:
    """A part's heading, table and note."""
    rows: list[Row] = part["rows"]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = markdown(columns, [[text(row.get(column)) for column in columns] for row in rows])
    source = f"Measured {part['date']} at commit {str(part['commit'])[:12]}.\n"
    return [f"### {TITLES[name]}\n", table, "", source, *([note + "\n"] if note else [])]


def read_notes() -> dict[str, str]:
    """Paragraphs by part, each under a heading of its name."""
    if not NOTES.exists():
        return {}
    sections = NOTES.read_text().split("\n## ")[1:]
    return {head.strip(): body.strip() for head, _, body in (section.partition("\n") for section in sections)}


def draw(results: dict[str, Any]) -> Figure:
    """Every ratio beside its aim, on one axis."""
    bars = [
        (f"{row.get('case', '')} {row['way']}".strip(), row["ratio"], row["aim"], device)
        for device, parts in results.items()
        for part in parts.values()
        for row in part["rows"]
        if isinstance(row.get("ratio"), float) and row.get("aim")
    ]
    figure = Figure(figsize=(9, 1.2 + 0.34 * max(len(bars), 1)), layout="constrained")
    axes = figure.subplots()
    for at, (_, ratio, aim, _) in enumerate(bars):
        axes.barh(at, ratio, color="#2a7f9e" if ratio >= aim else "#c9773c", height=0.6)
        axes.plot([aim, aim], [at - 0.42, at + 0.42], color="black", linewidth=2)
        axes.text(ratio, at, f" {ratio:.2f}", va="center", fontsize=8)
    labels = [name if len(results) == 1 else f"{name} ({device[:28]})" for name, _, _, device in bars]
    axes.set_yticks(range(len(bars)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("times as fast as the peer; black: the aim")
    return figure
