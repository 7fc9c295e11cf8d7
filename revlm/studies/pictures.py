"""The pictures that several studies draw: losses over training, and effects as dots with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.direction import Direction
from revlm.pages.drawing import (
    COLOURS,
    DASHES,
    NEUTRAL,
    STYLE,
    Line,
    draw_line,
    end_labels,
    finish,
    headline,
    panels,
    token_ticks,
    zero_line,
)
from revlm.statistics.effect import Effect

DOT = "#0072B2"
PERCENT = 100.0
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
    with mpl.rc_context(STYLE):
        figure, found = panels(len(charts))
        ends = []
        for panel, (name, sides) in zip(found, charts, strict=True):
            lines = {d: _line(validations, arm, f"nll_{d}") for d, arm in sides.items()}
            for direction, line in lines.items():
                draw_line(panel.chart, line, COLOURS[direction], dashes=DASHES[direction])
            gap = _gap(validations, sides)
            draw_line(panel.strip, gap, NEUTRAL)
            zero_line(panel.strip)
            token_ticks(panel.strip)
            apart = float(gap.mean[-1] / lines[Direction.FORWARD].mean[-1])
            seeds = validations[validations["arm"] == sides[Direction.FORWARD]]["seed"].nunique()
            headline(
                panel,
                f"{name}:\nreverse {apart:+.1%} at the end",
                f"{seeds} seed{'s' if seeds > 1 else ''}; {READING}",
            )
            ends.append(
                {str(d): (float(line.x[-1]), float(line.mean[-1]), COLOURS[d]) for d, line in lines.items()}
            )
        for panel, labels in zip(found, ends, strict=True):
            end_labels(panel.chart, labels)
        finish(
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
    with mpl.rc_context(STYLE):
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
        # Of the figure, not of the axes: those may be narrow beside long names.
        figure.suptitle(
            f"{band}Dots: mean, with 95% intervals over {counted} (n={_range(found.n for _, found in rows)}).{ticks}",
            x=0.01,
            ha="left",
            fontsize=8,
            color=NEUTRAL,
        )
    return figure


def draw_effect(axes: Axes, found: Effect, place: float, colour: str, scale: float = 1.0) -> None:
    """One effect as a dot with its interval, seeds as ticks.

    Args:
        axes: horizontal values.
        found: the effect.
        place: its height.
        colour: of dot and interval.
        scale: what values are multiplied by.
    """
    seeds = [scale * value for value in found.seeds.values()]
    if found.low is not None and found.high is not None:
        axes.plot([scale * found.low, scale * found.high], [place] * 2, color=colour, linewidth=2)
    axes.plot(scale * found.value, place, "o", color=colour, markersize=6)
    if len(seeds) > 1:
        axes.plot(seeds, [place] * len(seeds), "|", color="black", markersize=9)


def _range(counts: Iterable[int]) -> str:
    """From the least to the most, or one number."""
    found = sorted(set(counts))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def _gap(validations: pd.DataFrame, sides: Mapping[Direction, str]) -> Line:
    """Reverse minus forward, seed by seed."""
    forward, reverse = (
        _table(validations, sides[d], f"nll_{d}") for d in (Direction.FORWARD, Direction.REVERSE)
    )
    gap = (reverse - forward).dropna()
    return Line.over(gap.columns.to_numpy(float), gap.to_numpy(float))


def _line(validations: pd.DataFrame, arm: str, column: str) -> Line:
    table = _table(validations, arm, column)
    return Line.over(table.columns.to_numpy(float), table.to_numpy(float))


def _table(validations: pd.DataFrame, arm: str, column: str) -> pd.DataFrame:
    """(seeds, tokens) losses of an arm."""
    rows = validations[validations["arm"] == arm]
    table: pd.DataFrame = rows.pivot_table(index="seed", columns="tokens", values=column).dropna(axis=1)
    return table
