"""Finished scoring runs and selections as tables over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from revlm.cache import write_atomically
from revlm.markup import csv_text, markdown
from revlm.measures.crossing import rule_text
from revlm.pages.scores.run import ScoreRun, cells, mean_s
from revlm.pages.text import crossing_columns, crossing_text, left_out_section, page
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
    """Write scores.csv, a row a domain of each finished run, and scores.md, and return the latter.

    Raises:
        UserError: a score table is damaged.
    """
    rows = [{"run": str(index)} | row for index, run in enumerate(runs, start=1) for row in _rows(run)]
    header = ["documents", "tokens", "forward", "reverse", "s", "curves cross at"]
    corpora, domains = ([row for row in rows if row["of"] == of] for of in ("corpus", "domain"))
    whole = [[row["run"], row["model"], row["data"], *row["cells"], row["folder"]] for row in corpora]
    parts = ["## Scores", markdown(["run", "model", "data", *header, "folder"], whole), SCORE_NOTES]
    if by_domain := [[row["run"], row["domain"], *row["cells"]] for row in domains]:
        parts += ["## Scores by domain", markdown(["run", "domain", *header], by_domain)]
    written = page([*parts, *left_out_section(left_out)])
    write_atomically(folder / "scores.csv", csv_text(SCORE_COLUMNS, rows))
    write_atomically(folder / "scores.md", written)
    return written


def write_selections(
    selections: Mapping[Path, Mapping[str, Any]], left_out: Sequence[str], folder: Path
) -> str:
    """Write selections.csv and selections.md, and return the latter, from each folder's selection.json."""
    rows = []
    for path, facts in selections.items():
        mean, mean_all = (facts.get(which, {}).get("mean_s") for which in ("selected", "all"))
        told = {"folder": path.as_posix(), "mean_s": mean, "mean_s_all": mean_all}
        rows.append({key: facts.get(key) for key in SELECTION_COLUMNS} | told)
    header = ["rule", "by", "seed", "budget", "documents", "tokens", "mean s", "mean s of all", "folder"]
    cells_of = [[_text(row[key]) for key in (*SELECTION_COLUMNS[1:], "folder")] for row in rows]
    parts = ["## Selections", markdown(header, cells_of), SELECTION_NOTES]
    written = page([*parts, *left_out_section(left_out)])
    write_atomically(folder / "selections.csv", csv_text(SELECTION_COLUMNS, rows))
    write_atomically(folder / "selections.md", written)
    return written


def _rows(run: ScoreRun) -> list[dict[str, Any]]:
    """One run as rows of scores.csv: the corpus, then each domain; never rounded."""
    model = run.summary["model"]
    shared = {
        **{key: run.summary.get(key) for key in ("data", "window", "parameters", "commit")},
        "folder": run.folder.as_posix(),
        "model": f"mean of {model}" if run.models else model,
    }
    whole, by_domain = mean_s(run)
    rows = [shared | {"of": "corpus"} | _numbers(run, None, run.summary, whole)]
    for name, s in by_domain.items():
        numbers = _numbers(run, name, run.summary["by_domain"][name], s)
        rows.append(shared | {"of": "domain", "domain": name} | numbers)
    return rows


def _numbers(run: ScoreRun, domain: str | None, means: Mapping[str, Any], s: Effect) -> dict[str, Any]:
    kept = {key: means[key] for key in ("num_documents", "num_tokens", "nll_forward", "nll_reverse")}
    found = run.crossing(domain)
    told = {"cells": cells(means, s, crossing_text(found) if found else "")}
    return kept | {"s": s.value, "s_low": s.low, "s_high": s.high, "n": s.n} | crossing_columns(found) | told


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:+.4f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
