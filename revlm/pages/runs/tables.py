"""Runs as tables: one run for the terminal, many as Markdown and CSV with intervals over seeds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from revlm.data.reading import told
from revlm.direction import Direction
from revlm.markup import csv_text, markdown
from revlm.measures.crossing import ALL, rule_text
from revlm.pages.runs.run import COUNTED, Run, number
from revlm.pages.runs.sweeps import Arm, Comparison
from revlm.pages.text import crossing_columns, crossing_text, or_never, page
from revlm.statistics.effect import Effect, seed_mean
from revlm.statistics.kneser_ney import MAX_TOKENS, ORDERS

MEASURES = ("nll_forward", "nll_reverse", "gap")
COUNTED_COLUMNS = {f"counted_nll_{side}_{order}": (side, order) for side in Direction for order in ORDERS}
RUN_COLUMNS = (
    "folder", "name", "seed", "module", "language", "corpus_fingerprint", "model", "init", "tokens", "steps",
    "seconds", "tokens_per_second", "parameters", "window", "vocab_size", "num_val_documents",
    "start_nll_forward", "start_nll_reverse", "nll_forward", "nll_reverse", "gap", "relative_gap",
    *COUNTED_COLUMNS, "intersection", "intersection_low", "intersection_high", "intersection_share_never", "commit",
    "mfu", "peak_memory_mb", "device",
)  # fmt: skip
SWEEP_COLUMNS = (
    "table", "experiment", "module", "language", "corpus", "model", "init", "tokens", "options",
    "against", "matched", "differs", "measure", "mean", "low", "high", "n", "seeds",
)  # fmt: skip

NOTES = f"""\
Losses are validation losses in nats per token; gap is reverse minus forward.
Square brackets hold 95% t-intervals over seeds, n counts seeds; they are not corrected for the number of rows.
Curves cross, seed by seed, at
{rule_text("curves.smoothing", "curves.hold")}
(positions: tokens already read); later on it may rise above again."""
COUNTED_NOTES = f"""\
{COUNTED}-gram: losses on the same tokens of interpolated modified Kneser-Ney models, counted on the text that the run reads,
all of it in either direction. A model above them has learned less than counting would."""
COMPARISON_NOTES = """\
Each row subtracts runs of equal seed; below zero the first arm is better.
Total tokens: both arms trained on as many tokens, so they cost the same.
Tokens per direction: the mixed arm read as many tokens in the compared direction as the other arm in all."""


def summary_table(run: Run) -> str:
    """The end of a run in a few lines: losses before and after, those of counting, the gap, the crossing, the speed."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    summary = run.summary
    first = run.intersection.get(ALL, {})
    documents = summary.get("num_val_documents")
    held_out = f"{documents} held-out documents" if documents is not None else "held-out documents"
    title = f"{summary['name']}, seed {summary['seed']}: nats per token on {held_out}"
    table = Table("", Column("start", justify="right"), Column("end", justify="right"), box=box.SIMPLE_HEAD)
    for direction in Direction:
        start = summary.get(f"start_nll_{direction}")
        table.add_row(f"{direction} loss", _number(start), _number(summary[f"nll_{direction}"]))
    for row in _counted_rows(run):
        table.add_row(*row)
    table.add_row("gap (reverse - forward)", _number(_start_gap(summary), "+.4f"), gap_text(summary))
    table.add_row("curves cross at", "", crossing_text(first))
    if share := first.get("share_never"):
        table.add_row("resamples that never cross", "", f"{share:.0%}")
    speed = summary.get("tokens_per_second")
    table.add_row("training tokens per second", "", "" if speed is None else f"{speed:,.0f}")
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(table)
    lines = (line.rstrip() for line in out.getvalue().strip("\n").splitlines())
    return "\n".join([title, *lines, *told(summary.get("read") or {})])


def gap_text(summary: Mapping[str, Any]) -> str:
    """A gap in nats and in percent of the forward loss: "+0.0100 (+0.2%)"."""
    relative = number(summary["gap"]) / number(summary["nll_forward"])
    return f"{_number(summary['gap'], '+.4f')} ({relative:+.1%})"


def runs_csv(runs: Iterable[Run]) -> str:
    """One row a run, as it ended."""
    rows = [
        {
            **{key: run.summary.get(key) for key in RUN_COLUMNS},
            "folder": run.folder.as_posix(),
            "model": run.config.get("model", {}).get("name"),
            "init": run.config.get("init", {}).get("kind"),
            **{column: run.counted(*which) for column, which in COUNTED_COLUMNS.items()},
            **crossing_columns(run.intersection.get(ALL, {})),
        }
        for run in runs
    ]
    return csv_text(RUN_COLUMNS, rows)


def sweep_csv(arms: Sequence[Arm], comparisons: Sequence[Comparison]) -> str:
    """One row a number: arms, then comparisons, each with its interval, n and seeds; never rounded."""
    rows = [
        {"table": "arm", **arm.labels, "measure": measure, **_columns(arm.estimate(measure), arm.seeds)}
        for arm in arms
        for measure in MEASURES
    ]
    rows += [
        {
            "table": "comparison",
            **pair.arm.labels,
            "against": pair.against.labels["experiment"],
            "matched": pair.matched,
            "differs": pair.differs,
            "measure": _losses(pair),
            **_columns(pair.difference, tuple(pair.by_seed)),
        }
        for pair in comparisons
    ]
    return csv_text(SWEEP_COLUMNS, rows)


def sweep_markdown(arms: Sequence[Arm], comparisons: Sequence[Comparison]) -> str:
    """Arms and their comparisons as aligned Markdown; what all arms share stands above the table."""
    labels = [arm.labels for arm in arms]
    varying = [key for key in labels[0] if key == "experiment" or len({row[key] for row in labels}) > 1]
    shared = ", ".join(f"{key} {value}" for key, value in labels[0].items() if key not in varying and value)
    counted = [_counted_cells(arm) for arm in arms] if any(_is_counted(arm) for arm in arms) else []
    counts = [f"{COUNTED}-gram {direction}" for direction in Direction] if counted else []
    header = [*varying, "forward", "reverse", "gap", "curves cross at", *counts]
    rows = [[*(arm.labels[key] for key in varying), *_cells(arm)] for arm in arms]
    rows = [[*row, *cells] for row, cells in zip(rows, counted or [[]] * len(rows), strict=True)]
    parts = ["## Runs by experiment", f"All: {shared}." if shared else "", markdown(header, rows), NOTES]
    parts += [COUNTED_NOTES] if counted else []
    if comparisons:
        parts += ["## Paired differences", _comparison_table(comparisons, varying), COMPARISON_NOTES]
    return page(parts)


def _cells(arm: Arm) -> list[str]:
    crossings = [or_never(run.intersection.get(ALL, {}).get("position", "-")) for run in arm.runs]
    if len(arm.runs) == 1:
        crossings = [crossing_text(arm.runs[0].intersection.get(ALL, {}))]
    losses = [arm.estimate(measure).text(".4f") for measure in MEASURES[:2]]
    return [*losses, arm.estimate("gap").text("+.4f"), ", ".join(crossings)]


def _counted_rows(run: Run) -> list[list[str]]:
    """Rows of the end of a run: what counting reaches; none for a run of a version that did not count."""
    if "counted_nll" not in run.summary:
        return []
    if not run.summary["counted_nll"]:
        return [[f"losses of a {COUNTED}-gram", "", f"not counted (over {MAX_TOKENS / 1e6:.0f}M tokens)"]]
    return [[f"{side} loss of a {COUNTED}-gram", "", _number(run.counted(side))] for side in Direction]


def _is_counted(arm: Arm) -> bool:
    return all(run.counted(direction) is not None for run in arm.runs for direction in Direction)


def _counted_cells(arm: Arm) -> list[str]:
    """Mean over seeds of what counting reaches, by direction; seeds differ in which text they read, if in that."""
    if not _is_counted(arm):
        return ["-" for _ in Direction]
    each = [
        {seed: number(run.counted(side)) for seed, run in zip(arm.seeds, arm.runs, strict=True)}
        for side in Direction
    ]
    return [f"{seed_mean(by_seed).value:.4f}" for by_seed in each]


def _comparison_table(comparisons: Sequence[Comparison], varying: Sequence[str]) -> str:
    def name(arm: Arm) -> str:
        return " ".join(arm.labels[key] for key in varying if key != "module" and arm.labels[key])

    header = ["first arm", "minus", "loss", "matched", "difference", "by seed"]
    rows = [
        [
            name(pair.arm),
            name(pair.against),
            _losses(pair),
            pair.matched + (f" (differ in {pair.differs})" if pair.differs else ""),
            pair.difference.text("+.4f"),
            ", ".join(f"{seed}: {_number(value, '+.4f')}" for seed, value in pair.by_seed.items()),
        ]
        for pair in comparisons
    ]
    return markdown(header, rows)


def _losses(pair: Comparison) -> str:
    if pair.direction is pair.against_direction:
        return str(pair.direction)
    return f"{pair.direction} - {pair.against_direction}"


def _columns(value: Effect, seeds: Sequence[int]) -> dict[str, Any]:
    interval = {"mean": value.value, "low": value.low, "high": value.high, "n": value.n}
    return interval | {"seeds": " ".join(map(str, seeds))}


def _start_gap(summary: Mapping[str, Any]) -> float | None:
    forward, reverse = (summary.get(f"start_nll_{direction}") for direction in Direction)
    return None if forward is None or reverse is None else reverse - forward


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else f"{value:{form}}"
