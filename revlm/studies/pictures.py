"""The pictures that several studies draw: losses over training, and effects as dots with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.direction import Direction
from revlm.pages import drawing
from revlm.pages.drawing import COLOURS, NEUTRAL, Line
from revlm.statistics.effect import Effect
from revlm.studies.effects import pick

DOT = "#0072B2"
PERCENT = 100.0
# How to read a picture, of the figure, not of the axes: those may be narrow beside long names.
NOTE: Any = {"x": 0.01, "ha": "left", "fontsize": 8, "color": NEUTRAL}
# Whose losses the curves are, in grey under each headline.
READING = "the runs' own validation documents; the tables have the held-out ones"


def training_figure(
    validations: pd.DataFrame, charts: Sequence[tuple[str, Mapping[Direction, str]]]
) -> Figure:
    """Validation loss by direction over training, a panel a chart, the difference below each.

    Args:
        validations: columns arm, seed, tokens, nll_forward, nll_reverse.
        charts: (name, direction -> the arm whose loss in that direction is drawn).
    """
    with mpl.rc_context(drawing.STYLE):
        figure, found = drawing.panels(len(charts))
        ends = []
        for panel, (name, sides) in zip(found, charts, strict=True):
            losses = {d: _losses(pick(validations, arm=arm), f"nll_{d}") for d, arm in sides.items()}
            lines = {direction: _line(table) for direction, table in losses.items()}
            for direction, line in lines.items():
                drawing.draw_line(panel.chart, line, COLOURS[direction], dashes=drawing.DASHES[direction])
            gap = _line((losses[Direction.REVERSE] - losses[Direction.FORWARD]).dropna())
            drawing.draw_line(panel.strip, gap, NEUTRAL)
            drawing.zero_line(panel.strip)
            drawing.token_ticks(panel.strip)
            apart = float(gap.mean[-1] / lines[Direction.FORWARD].mean[-1])
            seeds = pick(validations, arm=sides[Direction.FORWARD])["seed"].nunique()
            reading = f"{seeds} seed{'s' if seeds > 1 else ''}; {READING}"
            drawing.headline(panel, f"{name}:\nreverse {apart:+.1%} at the end", reading)
            ends.append({str(d): (line.x[-1], line.mean[-1], COLOURS[d]) for d, line in lines.items()})
        # All charts share the y axis, so labels wait for its limits.
        for panel, labels in zip(found, ends, strict=True):
            drawing.end_labels(panel.chart, labels)
        drawing.finish(
            figure,
            found,
            x_title="training tokens of a model",
            reading="Lines: mean over seeds; bands: lowest to highest seed. Below: reverse minus forward.",
        )
    return figure


def dots_figure(
    rows: Sequence[tuple[str, Effect]],
    *,
    x_title: str,
    scale: float = 1.0,
    margin: float | None = None,
    counted: str = "documents",
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Effects as dots with their intervals, one below the other, seeds as ticks.

    Args:
        rows: (name, effect), the first on top.
        x_title: what the axis says.
        scale: what values are multiplied by; 100 for percent.
        margin: half the width of a grey band around zero, unscaled.
        counted: what n counts.
        marks: name -> value of other lines to see the effects by, unscaled.
    """
    with mpl.rc_context(drawing.STYLE):
        figure = Figure(figsize=(8.6, 1.5 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        if margin is not None:
            axes.axvspan(-scale * margin, scale * margin, color=NEUTRAL, alpha=0.12, linewidth=0)
        axes.axvline(0, color=NEUTRAL, linewidth=0.8)
        for place, (_, found) in enumerate(rows):
            draw_effect(axes, found, place, DOT, scale)
        for name, value in (marks or {}).items():
            axes.axvline(scale * value, color=NEUTRAL, linewidth=1, linestyle="--")
            axes.annotate(
                name, (scale * value, 1), xycoords=("data", "axes fraction"), xytext=(3, -2), textcoords="offset points",
                va="top", fontsize=8, color=NEUTRAL,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.set_xlabel(x_title)
        unit = "%" if scale == PERCENT else ""
        band = "" if margin is None else f"Grey: within {scale * margin:g}{unit}. "
        ticks = " Ticks: seeds." if any(len(found.seeds) > 1 for _, found in rows) else ""
        counts = [found.n for _, found in rows]
        n = " to ".join(f"{end:,}" for end in sorted({min(counts), max(counts)}))
        figure.suptitle(f"{band}Dots: mean, with 95% intervals over {counted} (n={n}).{ticks}", **NOTE)
    return figure


def draw_effect(axes: Axes, found: Effect, place: float, colour: str, scale: float = 1.0) -> None:
    """One effect at a height as a dot with its interval, seeds as ticks, all multiplied by a scale."""
    seeds = [scale * value for value in found.seeds.values()]
    if found.low is not None and found.high is not None:
        axes.plot([scale * found.low, scale * found.high], [place] * 2, color=colour, linewidth=2)
    axes.plot(scale * found.value, place, "o", color=colour, markersize=6)
    if len(seeds) > 1:
        axes.plot(seeds, [place] * len(seeds), "|", color="black", markersize=9)


def _losses(validations: pd.DataFrame, column: str) -> pd.DataFrame:
    """(seeds, tokens) losses."""
    return validations.pivot_table(index="seed", columns="tokens", values=column).dropna(axis=1)


def _line(table: pd.DataFrame) -> Line:
    return Line.over(table.columns.to_numpy(float), table.to_numpy(float))
