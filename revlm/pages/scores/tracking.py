"""Scoring runs and selections in W&B, from what they left in their folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from revlm import keys
from revlm.config import LoggerConfig, WandbMode
from revlm.direction import Direction
from revlm.measures.crossing import Curves
from revlm.measures.curve_files import BOUNDS
from revlm.pages.scores.run import ScoreRun, read_score_run
from revlm.records.wandb_run import Histogram, RunLabels, Table, WandbRun, was_logged
from revlm.scores.columns import read_columns

BINS = 64
# More domains than this would bury the other tags.
MAX_DOMAIN_TAGS = 8


def log_score_run(folder: Path, logger: LoggerConfig, config: dict[str, Any]) -> None:
    """Send a finished scoring run to W&B with its command's options, once: the same command again sends nothing."""
    if logger.wandb is WandbMode.none or was_logged(folder):
        return
    run = read_score_run(folder)
    numbers = _domain_numbers(run)
    row = {keys.score(name, what): value for name, told in numbers.items() for what, value in told.items()}
    shown = row | _spread(run) | {keys.SCORE_DOMAINS: _domain_table(run, numbers)}
    wandb_run = WandbRun(folder, logger, config, _labels(run))
    smoothing = int(run.summary.get("smoothing", 1))
    wandb_run.log(shown, _curves(run), smoothing=smoothing, chart=keys.SCORE_CURVES)
    wandb_run.finish(row, [])


def log_selection(
    folder: Path, facts: Mapping[str, Any], logger: LoggerConfig, config: dict[str, Any]
) -> None:
    """Send a selection to W&B, from what its selection.json says and the command's options."""
    if logger.wandb is WandbMode.none:
        return
    row = {
        keys.SELECT_BUDGET: facts["budget_tokens"],
        keys.SELECT_DOCUMENTS: facts["num_documents"],
        keys.SELECT_TOKENS: facts["num_tokens"],
        keys.SELECT_S: facts["selected"]["mean_s"],
        keys.SELECT_S_ALL: facts["all"]["mean_s"],
    }
    rule = facts["rule"]
    models = [str(table["model"]) for table in facts["scores"]["metadata"] if "model" in table]
    name = f"{rule} {facts['budget_tokens']} seed{facts['seed']}"
    tags = tuple(dict.fromkeys([rule, facts["column"] or "", *models]))
    labels = RunLabels(group="select", job_type="select", name=name, tags=tags)
    wandb_run = WandbRun(folder, logger, config, labels)
    wandb_run.log(row)
    wandb_run.finish(row | {keys.SELECT_RULE: rule}, [])


def _labels(run: ScoreRun) -> RunLabels:
    summary = run.summary
    domains = list(summary["by_domain"])
    tags = (
        *summary.get("models", [summary["model"]]),
        *summary.get("directions", []),
        *summary.get("by_language", {}),
        *(domains if len(domains) <= MAX_DOMAIN_TAGS else []),
    )
    name = " on ".join(filter(None, (summary["model"], summary.get("data"))))
    return RunLabels(group="score", job_type="score", name=name, tags=tuple(dict.fromkeys(tags)))


def _domain_numbers(run: ScoreRun) -> dict[str, dict[str, Any]]:
    """By domain, and for all together: what is measured, its value; None: not measured, or no crossing."""
    numbers = {}
    for domain, means in {keys.SCORE_ALL: run.summary, **run.summary["by_domain"]}.items():
        crossing = run.crossing(None if domain == keys.SCORE_ALL else domain)
        numbers[domain] = {
            keys.S: means["s"],
            keys.NLL_FORWARD: means["nll_forward"],
            keys.NLL_REVERSE: means["nll_reverse"],
            keys.GAP: means["nll_reverse"] - means["nll_forward"],
            keys.INTERSECTION: crossing.get("position"),
            keys.NEVER: crossing.get("share_never"),
        }
    return numbers


def _domain_table(run: ScoreRun, numbers: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for domain, means in run.summary["by_domain"].items():
        interval = [run.crossing(domain).get(bound) for bound in BOUNDS]
        counts = [means["num_documents"], means["num_tokens"]]
        rows.append([domain, *counts, *numbers[domain].values(), *interval])
    bounds = [f"{keys.INTERSECTION}_{bound}" for bound in BOUNDS]
    return Table([keys.DOMAIN, "num_documents", "num_tokens", *numbers[keys.SCORE_ALL], *bounds], rows)


def _spread(run: ScoreRun) -> dict[str, Any]:
    """How s spreads over documents: a histogram, and quantiles for dashboards that draw none."""
    s = read_columns(run.table, ["s"]).numbers["s"]
    s = s[np.isfinite(s)]
    if not len(s):
        return {}
    counts, edges = np.histogram(s, bins=BINS)
    quantiles = np.percentile(s, keys.S_PERCENTILES).tolist()
    told = {keys.s_quantile(p): value for p, value in zip(keys.S_PERCENTILES, quantiles, strict=True)}
    return {keys.SCORE_HISTOGRAM: Histogram(counts, edges)} | told


def _curves(run: ScoreRun) -> Curves | None:
    """The whole corpus's curves; None for several models, which have their own."""
    if keys.SCORE_ALL not in run.curves:
        return None
    found = run.curves[keys.SCORE_ALL]
    size = 1 + int(max(curve.position.max() for curve in found.values()))
    nll, count = np.full((len(Direction), size), np.nan), np.zeros((len(Direction), size))
    for direction, curve in found.items():
        at = curve.position.astype(np.int64)
        nll[direction.number, at] = curve.columns["nll"]
        count[direction.number, at] = curve.columns["count"]
    none = np.empty((len(Direction), 0, size))
    return Curves(nll, count, none, none)
