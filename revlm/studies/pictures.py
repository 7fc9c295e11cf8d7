"""The pictures that several studies draw: losses over training, and effects as dots with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from revlm.direction import Direction
from revlm.records.drawing import (
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
from revlm.studies.study import Seeded

DOT = "#0072B2"


def loss_figure(
    validations: pd.DataFrame, charts: Sequence[tuple[str, Mapping[Direction, str]]], *, reading: str
) -> Figure:
    """Validation loss by direction over training, a panel a chart, the difference below each.

    Args:
        validations: columns arm, seed, tokens, nll_forward, nll_reverse.
        charts: (name, direction -> the arm whose loss in that direction is drawn).
        reading: whose losses these are, in grey under each headline.
    """
    with mpl.rc_context(STYLE):
        figure, found = panels(len(charts))
        ends = []
        for panel, (name, sides) in zip(found, charts, strict=True):
            lines = {d: _line(validations, arm, f"nll_{d}") for d, arm in sides.items()}
            for direction, line in lines.items():
                draw_line(panel.chart, line, COLOURS[direction], dashes=DASHES[direction])
            forward, reverse = lines[Direction.FORWARD], lines[Direction.REVERSE]
            gap = reverse.mean - forward.mean
            draw_line(panel.strip, Line(forward.x, gap, *np.full((2, len(gap)), np.nan)), NEUTRAL)
            zero_line(panel.strip)
            token_ticks(panel.strip)
            apart = float(gap[-1] / forward.mean[-1])
            seeds = validations[validations["arm"] == sides[Direction.FORWARD]]["seed"].nunique()
            headline(
                panel,
                f"{name}:\nreverse {apart:+.1%} at the end",
                f"{seeds} seed{'s' if seeds > 1 else ''}; {reading}",
            )
            ends.append(
                {str(d): (float(line.x[-1]), float(line.mean[-1]), COLOURS[d]) for d, line in lines.items()}
            )
        for panel, labels in zip(found, ends, strict=True):
            end_labels(panel.chart, labels)
        finish(
            figure,
            found,
            x_title="training tokens, both directions counted",
            reading="Lines: mean over seeds; bands: lowest to highest seed. Below: reverse minus forward.",
        )
    return figure


def dots_figure(
    rows: Sequence[tuple[str, Seeded]], *, x_title: str, scale: float = 1.0, margin: float | None = None
) -> Figure:
    """Effects as dots with their intervals, one below the other, seeds as ticks.

    Args:
        rows: (name, effect), the first on top.
        x_title: what the axis says.
        scale: what values are multiplied by; 100 for percent.
        margin: half the width of a grey band around zero, unscaled.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.5 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        if margin is not None:
            axes.axvspan(-scale * margin, scale * margin, color=NEUTRAL, alpha=0.12, linewidth=0)
        axes.axvline(0, color=NEUTRAL, linewidth=0.8)
        for place, (_, found) in enumerate(rows):
            effect, seeds = found.effect, [scale * value for value in found.by_seed.values()]
            if effect.low is not None and effect.high is not None:
                axes.plot([scale * effect.low, scale * effect.high], [place] * 2, color=DOT, linewidth=2)
            axes.plot(scale * effect.value, place, "o", color=DOT, markersize=6)
            if len(seeds) > 1:
                axes.plot(seeds, [place] * len(seeds), "|", color="black", markersize=9)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.set_xlabel(x_title)
        band = "" if margin is None else f"Grey: within {scale * margin:g}. "
        # Of the figure, not of the axes: those may be narrow beside long names.
        figure.suptitle(
            f"{band}Dots: mean, with 95% intervals over documents. Ticks: seeds.",
            x=0.01,
            ha="left",
            fontsize=8,
            color=NEUTRAL,
        )
    return figure


def _line(validations: pd.DataFrame, arm: str, column: str) -> Line:
    rows = validations[validations["arm"] == arm]
    table = rows.pivot_table(index="seed", columns="tokens", values=column).dropna(axis=1)
    return Line.over(table.columns.to_numpy(float), table.to_numpy(float))
