"""Finished scoring runs and selections as tables over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from revlm.cache import write_atomically
from revlm.markup import csv_text, markdown
from revlm.measures.crossing import rule_text
from revlm.pages.scores.run import ScoreRun, mean_s
from revlm.pages.text import crossing_columns, crossing_text, left_out_section
from revlm.statistics.effect import Effect

SCORE_COLUMNS = (
    "folder", "model", "data", "of", "domain", "num_documents", "num_tokens", "nll_forward", "nll_reverse",
    "s", "s_low", "s_high", "n", "intersection", "intersection_low", "intersection_high",
    "intersection_share_never", "window", "parameters", "commit",
)  # fmt: skip
SELECTION_COLUMNS = (
    "folder", "rule", "column", "seed", "budget_tokens", "num_documents", "num_tokens", "mean_s", "mean_s_all",
)  # fmt: skip
SCORE_NOTES = f"""\
Losses are nats per token over all tokens; s = forward - reverse is the mean over documents, each counting alike, so it
need not be the difference of the two. s > 0: reverse is easier. Square brackets hold 95% t-intervals over n documents
for one model as it is; they are not corrected for the number of rows. Curves cross at
{rule_text("curves.smoothing", "curves.hold")} (positions: tokens already read)."""
SELECTION_NOTES = "Mean s is over documents: in the selection, and in all that was scored."


def write_scores(runs: Sequence[ScoreRun], left_out: Sequence[str], folder: Path) -> str:
    """Write scores.csv, a row a domain, and scores.md, and return the latter.

    Args:
        runs: finished ones, at least one.
        left_out: a line about each other one.
        folder: to write to.

    Raises:
        UserError: a score table is damaged.
    """
    rows = [{"run": str(index)} | row for index, run in enumerate(runs, start=1) for row in _rows(run)]
    header = ["documents", "tokens", "forward", "reverse", "s", "curves cross at"]
    whole = [
        [row["run"], row["model"], row["data"], *_cells(row), row["folder"]]
        for row in rows
        if row["of"] == "corpus"
    ]
    parts = ["## Scores", markdown(["run", "model", "data", *header, "folder"], whole), SCORE_NOTES]
    if by_domain := [[row["run"], row["domain"], *_cells(row)] for row in rows if row["of"] == "domain"]:
        parts += ["## Scores by domain", markdown(["run", "domain", *header], by_domain)]
    page = "\n\n".join([*parts, *left_out_section(left_out)]) + "\n"
    write_atomically(folder / "scores.csv", csv_text(SCORE_COLUMNS, rows))
    write_atomically(folder / "scores.md", page)
    return page


def write_selections(
    selections: Mapping[Path, Mapping[str, Any]], left_out: Sequence[str], folder: Path
) -> str:
    """Write selections.csv and selections.md, and return the latter.

    Args:
        selections: folder -> what its selection.json says; at least one.
        left_out: a line about each other one.
        folder: to write to.
    """
    rows = [_selection_row(path, facts) for path, facts in selections.items()]
    header = ["rule", "by", "seed", "budget", "documents", "tokens", "mean s", "mean s of all", "folder"]
    keys = (
        "rule",
        "column",
        "seed",
        "budget_tokens",
        "num_documents",
        "num_tokens",
        "mean_s",
        "mean_s_all",
        "folder",
    )
    cells = [[_text(row[key]) for key in keys] for row in rows]
    parts = ["## Selections", markdown(header, cells), SELECTION_NOTES, *left_out_section(left_out)]
    page = "\n\n".join(parts) + "\n"
    write_atomically(folder / "selections.csv", csv_text(SELECTION_COLUMNS, rows))
    write_atomically(folder / "selections.md", page)
    return page


def _rows(run: ScoreRun) -> list[dict[str, Any]]:
    """One run as rows of scores.csv: the corpus, then each domain; never rounded."""
    model = run.summary["model"]
    shared = {
        **{key: run.summary.get(key) for key in ("data", "window", "parameters", "commit")},
        "folder": run.folder.as_posix(),
        "model": f"mean of {model}" if run.models else model,
    }
    whole, by_domain = mean_s(run)
    rows = [shared | {"of": "corpus"} | _numbers(run.summary, whole) | _crossing(run, None)]
    for name, s in by_domain.items():
        means = run.summary["by_domain"][name]
        rows.append(shared | {"of": "domain", "domain": name} | _numbers(means, s) | _crossing(run, name))
    return rows


def _numbers(means: Mapping[str, Any], s: Effect) -> dict[str, Any]:
    kept = {key: means[key] for key in ("num_documents", "num_tokens", "nll_forward", "nll_reverse")}
    return kept | {"s": s.value, "s_low": s.low, "s_high": s.high, "n": s.n}


def _crossing(run: ScoreRun, name: str | None) -> dict[str, Any]:
    found = run.crossing(name)
    return crossing_columns(found) | {"crossing": crossing_text(found) if found else ""}


def _cells(row: Mapping[str, Any]) -> list[str]:
    counts = [f"{row[key]:,}" for key in ("num_documents", "num_tokens")]
    losses = [f"{row[key]:.4f}" for key in ("nll_forward", "nll_reverse")]
    s = Effect(row["s"], row["s_low"], row["s_high"], row["n"])
    return [*counts, *losses, s.text("+.4f"), row["crossing"]]


def _selection_row(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    means = {
        f"mean_s{suffix}": facts.get(key, {}).get("mean_s")
        for key, suffix in (("selected", ""), ("all", "_all"))
    }
    return {**{key: facts.get(key) for key in SELECTION_COLUMNS}, **means, "folder": path.as_posix()}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:+.4f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
