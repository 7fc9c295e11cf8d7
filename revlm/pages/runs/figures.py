"""Runs as pictures: losses by direction over training, and by position with the crossing marked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm import keys
from revlm.direction import Direction
from revlm.measures.crossing import ALL, FIRST, smooth
from revlm.pages.drawing import (
    BAND,
    COLOURS,
    DASHES,
    NEUTRAL,
    STYLE,
    FloatArray,
    Line,
    Panel,
    draw_line,
    end_labels,
    finish,
    headline,
    panels,
    position_ticks,
    save,
    token_ticks,
    zero_line,
)
from revlm.pages.files import Curve
from revlm.pages.runs.captions import (
    crossing_finding,
    crossings_of,
    curves_legend,
    curves_reading,
    loss_finding,
    loss_reading,
    panel_name,
)
from revlm.pages.runs.run import Run, number, read_run
from revlm.pages.runs.sweeps import Arm, gather


def draw_run(folder: Path | str) -> list[Path]:
    """Draw both pictures of a run into its folder, from its files alone, finished or not.

    Raises:
        UserError: the folder is no run, or a file is missing or damaged.
    """
    run = read_run(folder, finished=False)
    return draw([run], run.folder / "figures")


def draw(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Both pictures of some runs, a panel an experiment."""
    pictures: dict[str, Callable[[Sequence[Run]], Figure]] = {
        "loss_by_direction.png": loss_figure,
        "position_curves.png": position_figure,
    }
    return [save(picture(runs), folder / name) for name, picture in pictures.items()]


def loss_figure(runs: Sequence[Run]) -> Figure:
    """Validation loss by direction over training, a panel for each group of runs that differ by seed.

    Args:
        runs: one run, or many; training loss stands faint behind.
    """
    arms = gather(runs)
    with mpl.rc_context(STYLE):
        figure, found = panels(len(arms))
        ends = [_draw_losses(arm, panel) for arm, panel in zip(arms, found, strict=True)]
        for arm, panel, labels in zip(arms, found, ends, strict=True):
            token_ticks(panel.strip)
            end_labels(panel.chart, labels)
            headline(panel, panel_name(arm, arms) + loss_finding(arm), loss_reading(arm))
        bands = " Lines are means over seeds, bands reach from the lowest to the highest seed."
        several = any(len(arm.runs) > 1 for arm in arms)
        reading = "Thin grey line: training loss, in the directions that the model is trained on." + (
            bands if several else ""
        )
        finish(figure, found, x_title="training tokens", reading=reading)
    return figure


def position_figure(runs: Sequence[Run]) -> Figure:
    """Validation loss by position at the end of training, with the crossing marked.

    Args:
        runs: one experiment gives two panels, all windows and documents' first windows, which
            alone have a true beginning; several experiments give a panel each, all windows.
    """
    arms = gather(runs)
    views = [(arm, ALL) for arm in arms]
    if len(arms) == 1 and all(run.first_curves for run in arms[0].runs):
        views.append((arms[0], FIRST))
    with mpl.rc_context(STYLE):
        figure, found = panels(len(views))
        ends = [_draw_curves(arm, windows, panel) for (arm, windows), panel in zip(views, found, strict=True)]
        for (arm, windows), panel, labels in zip(views, found, ends, strict=True):
            end_labels(panel.chart, labels)
            of = {ALL: "", FIRST: "First windows of documents\n"}[windows]
            name = of or ("All windows\n" if len(views) > len(arms) else panel_name(arm, arms))
            headline(panel, name + crossing_finding(arm, windows), curves_reading(arm, windows))
        x_title = "tokens already read in that direction (log scale)"
        finish(figure, found, x_title=x_title, reading=curves_legend(arms))
    return figure


Ends = dict[str, tuple[float, float, str]]


def _draw_losses(arm: Arm, panel: Panel) -> Ends:
    ends: Ends = {}
    for run in arm.runs:
        _draw_training(panel.chart, run, named=run is arm.runs[0])
    for direction in Direction:
        line = _over_tokens(arm, keys.val_nll(direction))
        draw_line(panel.chart, line, COLOURS[direction], dashes=DASHES[direction])
        ends[f"{direction} {line.mean[-1]:.3f}"] = (line.x[-1], line.mean[-1], COLOURS[direction])
    gap = _over_tokens(arm, keys.VAL_GAP)
    draw_line(panel.strip, gap, NEUTRAL)
    zero_line(panel.strip)
    end_labels(panel.strip, {f"{gap.mean[-1]:+.3f}": (gap.x[-1], gap.mean[-1], NEUTRAL)})
    return ends


def _draw_training(axes: Axes, run: Run, *, named: bool) -> None:
    rows = [row for row in run.metrics if keys.TRAIN_NLL in row]
    if not rows:
        return
    tokens, losses = ([number(row[key]) for row in rows] for key in (keys.TOKENS, keys.TRAIN_NLL))
    axes.plot(tokens, losses, color=NEUTRAL, alpha=0.35, linewidth=0.8, zorder=0)
    if named:
        early = len(rows) // 5
        axes.annotate(
            "training loss",
            (tokens[early], min(losses[: early + 1])),
            xytext=(-4, -4),
            textcoords="offset points",
            color=NEUTRAL,
            fontsize=8,
            ha="right",
            va="top",
        )


def _over_tokens(arm: Arm, key: str) -> Line:
    """A number of validation over training, as the mean of the runs; their steps are the same."""
    tokens = [np.asarray([float(row[keys.TOKENS]) for row in run.validations]) for run in arm.runs]
    values = [np.asarray([number(row[key]) for row in run.validations]) for run in arm.runs]
    common = [np.interp(tokens[0], x, y) for x, y in zip(tokens, values, strict=True)]
    return Line.over(tokens[0], np.stack(common))


def _draw_curves(arm: Arm, windows: str, panel: Panel) -> Ends:
    position = _common_positions(arm, windows)
    width = int(crossings_of(arm, windows)[0].get("smoothing", 1))
    ends: Ends = {}
    smoothed: dict[Direction, FloatArray] = {}
    for direction in Direction:
        curves = [_curves(run, windows)[direction] for run in arm.runs]
        raw, counts = (
            np.stack([_at(curve, name, position) for curve in curves]) for name in ("nll", "count")
        )
        smoothed[direction] = np.stack(
            [smooth(values, width, weights) for values, weights in zip(raw, counts, strict=True)]
        )
        line = Line.over(position, smoothed[direction])
        panel.chart.plot(position, raw.mean(axis=0), color=COLOURS[direction], alpha=0.5, linewidth=0.8)
        # Before half a width there is less to average over, and a steep start looks flat.
        start = width // 2 if len(position) > width else 0
        draw_line(panel.chart, line, COLOURS[direction], dashes=DASHES[direction], start=start)
        if len(arm.runs) == 1 and windows == ALL:
            _draw_interval(panel.chart, arm.runs[0].intervals.get(direction), COLOURS[direction])
        ends[str(direction)] = (line.x[-1], line.mean[-1], COLOURS[direction])
    difference = Line.over(position, smoothed[Direction.REVERSE] - smoothed[Direction.FORWARD])
    draw_line(panel.strip, difference, NEUTRAL)
    zero_line(panel.strip)
    position_ticks(panel.strip, position[-1])
    for crossing in crossings_of(arm, windows):
        _mark(panel, crossing, position[-1], span=len(arm.runs) == 1)
    return ends


def _mark(panel: Panel, crossing: dict[str, Any], last: float, *, span: bool) -> None:
    """A line where the curves cross, and a span over the interval; nothing where they never do."""
    for axes in (panel.chart, panel.strip):
        if crossing.get("position") is not None:
            axes.axvline(crossing["position"], color="black", linewidth=1.0, linestyle=":", zorder=2)
        if span and crossing.get("low") is not None:
            high = last if crossing.get("high") is None else crossing["high"]
            axes.axvspan(crossing["low"], high, color="black", alpha=0.07, linewidth=0, zorder=0)
    if not span:
        return
    where = crossing.get("position")
    text = "the curves never cross" if "position" in crossing else "crossing not measured"
    if where is not None:
        text = f"cross at {where}" if where else "from the start"
    panel.chart.annotate(
        text,
        (last / 2 if where is None else where, 1),
        xytext=(4, -4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        ha="left" if where is not None else "right",
        fontsize=8.5,
    )


def _curves(run: Run, windows: str) -> dict[Direction, Curve]:
    return run.curves if windows == ALL else run.first_curves


def _common_positions(arm: Arm, windows: str) -> FloatArray:
    """Positions (P,) at which every run has counted tokens in both directions."""
    known = [
        curve.position[np.isfinite(curve.columns["nll"])]
        for run in arm.runs
        for curve in _curves(run, windows).values()
    ]
    return functools.reduce(np.intersect1d, known)


def _at(curve: Curve, column: str, position: FloatArray) -> FloatArray:
    return curve.columns[column][np.isin(curve.position, position)]


def _draw_interval(axes: Axes, interval: Curve | None, colour: str) -> None:
    if interval is not None:
        # A bound is infinite where some resamples hold no token.
        low, high = (np.ma.masked_invalid(interval.columns[bound]) for bound in ("low", "high"))
        axes.fill_between(interval.position, low, high, color=colour, alpha=BAND, linewidth=0, zorder=1)
