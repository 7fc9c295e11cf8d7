"""Folders of scoring runs and selections read back, and a scoring run's end for the terminal."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.markup import markdown
from revlm.records.runs import CONFIG, METRICS, SUMMARY, Curve
from revlm.records.sweeps import LEVEL, Estimate
from revlm.records.tables import crossing_text, estimate_text
from revlm.scores.columns import Codes, Moments, as_numbers, read_batches
from revlm.scores.table import SCORES
from revlm.scores.table import SUMMARY as SCORE_SUMMARY

SELECTION_SUMMARY = "selection.json"
# A run of several models keeps each one's folder in here.
MODELS = "models"
EVALUATION, ARMS = "results.json", "arms"
ALL = "all"
# What a folder is, by the names in it that tell; the first kind that fits.
KINDS = (
    ("scores", ((SCORE_SUMMARY,), (CONFIG, "identity.json"), (CONFIG, MODELS))),
    ("selection", ((SELECTION_SUMMARY,),)),
    ("evaluation", ((EVALUATION,), (CONFIG, ARMS))),
    ("training", ((CONFIG,), (METRICS,), (SUMMARY,))),
)
NEEDED = ("model", "num_documents", "num_tokens", "nll_forward", "nll_reverse", "s", "by_domain")
Crossing = dict[str, Any]


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


def kind_of(names: Iterable[str]) -> str | None:
    """What a folder with these names in it is, finished or not: "scores", "selection", "training" or no run."""
    inside = set(names)
    for kind, telling in KINDS:
        if any(inside >= set(together) for together in telling):
            return kind
    return None


def read_score_run(folder: Path | str) -> ScoreRun:
    """The finished scoring run in a folder.

    Raises:
        UserError: the folder is no scoring run, the run is unfinished, or a file is damaged.
    """
    folder = Path(folder)
    if not (folder / SCORE_SUMMARY).is_file():
        raise UserError(
            f"{folder}: no {SCORE_SUMMARY}, so this scoring run is not finished: "
            "give the same python -m revlm.score command again to continue it."
        )
    summary = _json(folder / SCORE_SUMMARY, NEEDED)
    several = {name: folder / MODELS / name for name in summary.get("models", [])}
    if several:
        return ScoreRun(folder, summary, {}, {}, several)
    return ScoreRun(
        folder=folder,
        summary=summary,
        intersection=_json(folder / "intersection.json", (ALL, "domain")),
        curves=_curves(folder / "curves.csv"),
        models={},
    )


def read_selection(folder: Path | str) -> dict[str, Any]:
    """What selection.json says.

    Raises:
        UserError: the file is damaged.
    """
    return _json(Path(folder) / SELECTION_SUMMARY, ("rule", "budget_tokens", "num_documents", "num_tokens"))


def mean_s(run: ScoreRun) -> tuple[Estimate, dict[str, Estimate]]:
    """Mean of s over documents with its 95% t-interval: of all, and of each domain by name.

    Raises:
        UserError: no score table, or a damaged one.
    """
    domains, by_domain, everything = Codes(), Moments(), Moments()
    for batch in read_batches(run.table, ["domain", "s"]):
        s = as_numbers(batch["s"])
        by_domain.add(domains.encode(batch["domain"]), s)
        everything.add(np.zeros(len(s), dtype=np.int64), s)
    found = dict(zip(domains.names, _estimates(by_domain), strict=False))
    whole = _estimates(everything) or [Estimate(math.nan, None, None, 0)]
    return whole[0], {name: found[name] for name in sorted(found) if name in run.summary["by_domain"]}


def score_table(run: ScoreRun) -> str:
    """The end of a scoring run: both losses, s with its interval and the crossing, by domain."""
    whole, by_domain = mean_s(run)
    rows = [_row(run, name, run.summary["by_domain"][name], s) for name, s in by_domain.items()]
    rows.append(_row(run, None, run.summary, whole))
    header = ["domain", "documents", "tokens", "forward", "reverse", "s [95%]", "curves cross at"]
    title = f"{run.summary['model']}: nats per token; s: mean over documents of forward - reverse (s > 0: reverse is easier)"
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in (run.summary.get("skipped") or {}).items())
    return "\n".join([title, "", markdown(header, rows), *([f"Left out: {skipped}."] if skipped else [])])


def _row(run: ScoreRun, domain: str | None, means: Mapping[str, Any], s: Estimate) -> list[str]:
    counts = [f"{means[key]:,}" for key in ("num_documents", "num_tokens")]
    losses = [f"{means[key]:.4f}" for key in ("nll_forward", "nll_reverse")]
    crossing = crossing_text(run.crossing(domain)) if run.curves else ""
    return [domain or "the whole corpus", *counts, *losses, estimate_text(s, sign=True), crossing]


def _estimates(moments: Moments) -> list[Estimate]:
    from scipy import stats

    found = []
    for count, centre, std in zip(moments.count, moments.mean, moments.std, strict=True):
        n, mean = int(count), float(centre)
        if n > 1:
            half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * std / np.sqrt(n))
            found.append(Estimate(mean, mean - half, mean + half, n))
        else:
            found.append(Estimate(mean, None, None, n))
    return found


def _json(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    value = _parse(path, json.loads)
    if not isinstance(value, dict):
        raise _damaged(path, "not a JSON object")
    if lost := [key for key in needed if key not in value]:
        raise _damaged(path, f"no {', '.join(lost)}")
    return value


def _curves(path: Path) -> dict[str, dict[Direction, Curve]]:
    """Curves by domain and direction."""
    reader = _parse(path, lambda text: csv.DictReader(text.splitlines()))
    header = ("domain", "direction", "position", "nll", "count")
    if lost := [name for name in header if name not in (reader.fieldnames or [])]:
        raise _damaged(path, f"no column {', '.join(lost)}")
    points: dict[str, dict[Direction, list[tuple[float, ...]]]] = {}
    try:
        for row in reader:
            point = tuple(float(row[name]) for name in header[2:])
            points.setdefault(row["domain"], {}).setdefault(Direction(row["direction"]), []).append(point)
    except (TypeError, ValueError) as error:
        raise _damaged(path, f"a row is not {','.join(header)} ({error})") from None
    if any(len(by_direction) < len(Direction) for by_direction in points.values()):
        raise _damaged(path, "not both directions")
    return {
        domain: {direction: _curve(found) for direction, found in by_direction.items()}
        for domain, by_direction in points.items()
    }


def _curve(points: Sequence[tuple[float, ...]]) -> Curve:
    position, nll, count = np.asarray(sorted(points), dtype=np.float64).T
    return Curve(position, {"nll": nll, "count": count})


def _parse(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _damaged(path, "the file is missing") from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path}: {what}: make it again, or move {path.parent} away from the others.")
