"""Folders of scoring runs and selections read back, and a scoring run's end for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.crossing import ALL, domain_label
from revlm.measures.curve_files import CURVES, INTERSECTION, MEANS
from revlm.pages.files import Crossing, Curve, Folder
from revlm.pages.text import crossing_text, table_text
from revlm.scores.columns import Codes, Moments, as_numbers, read_batches
from revlm.scores.table import MODELS, SCORES, SUMMARY
from revlm.selection import RECORD
from revlm.statistics.effect import Effect, t_interval

MEND = "make it again"
MOST_ROWS = 30  # domains on a terminal
NEEDED = ("model", "num_documents", "num_tokens", "nll_forward", "nll_reverse", "s", "by_domain")


@dataclass(frozen=True)
class ScoreRun:
    """What one scoring run left behind.

    Attributes:
        folder: of the run.
        summary: score.json.
        intersection: {"all": crossing, "domain": {name: crossing}, "language": {...}}; empty for
            several models, whose curves are in their own folders.
        curves: domain -> direction -> nll and count by position; the domain `all` is the whole corpus.
        models: several models: model -> folder of its own run; else empty.
    """

    folder: Path
    summary: dict[str, Any]
    intersection: dict[str, Any]
    curves: dict[str, dict[Direction, Curve]]
    models: dict[str, Path]

    @property
    def table(self) -> Path:
        """The score table."""
        return self.folder / SCORES

    def crossing(self, domain: str | None) -> Crossing:
        """Where a domain's curves cross, None: those of the corpus; empty where it was not measured."""
        found = self.intersection if domain is None else self.intersection.get("domain", {})
        return dict(found.get(ALL if domain is None else domain, {}))


def read_score_run(folder: Path | str) -> ScoreRun:
    """The finished scoring run in a folder.

    Raises:
        UserError: the folder is no scoring run, the run is unfinished, or a file is damaged.
    """
    path = Path(folder)
    if not (path / SUMMARY).is_file():
        raise UserError(
            f"{path}: no {SUMMARY}, so this scoring run is not finished: "
            "give the same python -m revlm.score command again to continue it."
        )
    files = Folder(path, MEND)
    summary = files.json(SUMMARY, NEEDED)
    if several := {name: path / MODELS / name for name in summary.get("models", [])}:
        return ScoreRun(path, summary, {}, {}, several)
    intersection = files.json(INTERSECTION, (ALL, "domain"))
    return ScoreRun(path, summary, intersection, files.curves(CURVES[ALL], MEANS, by="domain"), {})


def read_score_runs(folder: Path) -> list[ScoreRun]:
    """The scoring run in a folder; of several models, their means and then each model's own.

    Raises:
        UserError: a run is unfinished, or a file is damaged.
    """
    run = read_score_run(folder)
    return [run, *(read_score_run(inner) for inner in run.models.values())]


def read_selection(folder: Path | str) -> dict[str, Any]:
    """What selection.json says.

    Raises:
        UserError: the file is damaged.
    """
    return Folder(Path(folder), MEND).json(RECORD, ("rule", "budget_tokens", "num_documents", "num_tokens"))


def mean_s(run: ScoreRun) -> tuple[Effect, dict[str, Effect]]:
    """Mean of s over documents with its 95% t-interval: of all, and of each domain by name.

    Raises:
        UserError: no score table, or a damaged one.
    """
    domains, moments, everything = Codes(), Moments(), Moments()
    for batch in read_batches(run.table, ["domain", "s"]):
        s = as_numbers(batch["s"])
        moments.add(domains.encode(batch["domain"]), s)
        everything.add(np.zeros(len(s), dtype=np.int64), s)
    found = dict(zip(domain_labels(run, domains.names), _effects(moments), strict=False))
    whole = _effects(everything) or [Effect(math.nan)]
    return whole[0], {name: found[name] for name in sorted(found) if name in run.summary["by_domain"]}


def domain_labels(run: ScoreRun, domains: Sequence[str]) -> list[str]:
    """What the run's record calls the domains of its table: runs from before 0.2 call one named all by its name."""
    known = run.summary["by_domain"]
    return [name if name in known else domain_label(name) for name in domains]


def _effects(moments: Moments) -> list[Effect]:
    columns = zip(moments.mean, moments.std, moments.count, strict=True)
    return [t_interval(float(mean), float(std), int(count)) for mean, std, count in columns]


def score_table(run: ScoreRun) -> str:
    """The end of a scoring run: both losses, s with its interval and the crossing, by domain."""
    whole, by_domain = mean_s(run)
    sizes = {name: run.summary["by_domain"][name]["num_documents"] for name in by_domain}
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:MOST_ROWS]
    rows = [
        [name, *cells(run.summary["by_domain"][name], by_domain[name], _crosses(run, name))]
        for name in sorted(largest)
    ]
    if rest := sizes.keys() - set(largest):
        tokens = sum(run.summary["by_domain"][name]["num_tokens"] for name in rest)
        counts = [f"{sum(sizes[name] for name in rest):,}", f"{tokens:,}"]
        rows.append([f"{len(rest):,} others, in {SUMMARY}", *counts, "", "", "", ""])
    rows.append(["the whole corpus", *cells(run.summary, whole, _crosses(run, None))])
    header = ["domain", "documents", "tokens", "forward", "reverse", "s [95%]", "curves cross at"]
    title = f"{run.summary['model']}: nats per token; s: mean over documents of forward - reverse (s > 0: reverse is easier)"
    return table_text(title, header, rows, run.summary)


def cells(means: Mapping[str, Any], s: Effect, crossing: str) -> list[str]:
    """A row of a table of scores behind its name: counts, both losses, s and where the curves cross."""
    counts = [f"{means[key]:,}" for key in ("num_documents", "num_tokens")]
    losses = [f"{means[key]:.4f}" for key in ("nll_forward", "nll_reverse")]
    return [*counts, *losses, s.text("+.4f"), crossing]


def _crosses(run: ScoreRun, domain: str | None) -> str:
    return crossing_text(run.crossing(domain)) if run.curves else ""
