"""Runs as pictures: losses by direction over training, and by position with the crossing marked."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm import keys
from revlm.direction import Direction
from revlm.measures.crossing import ALL, FIRST, smooth
from revlm.measures.curve_files import BOUNDS, MEANS
from revlm.pages import drawing
from revlm.pages.drawing import BAND, COLOURS, NEUTRAL, End, FloatArray, Line
from revlm.pages.files import Crossing, Curve
from revlm.pages.runs import captions
from revlm.pages.runs.run import Run, number, read_run
from revlm.pages.runs.sweeps import Arm, gather
from revlm.records.folder import SUMMARY

FIGURES, PICTURES = "figures", ("loss_by_direction.png", "position_curves.png")


def draw_run(folder: Path | str) -> list[Path]:
    """Draw both pictures of a run into its folder, from its files alone, finished or not.

    Raises:
        UserError: the folder is no run, or a file is missing or damaged.
    """
    return draw([read_run(folder, finished=False)], Path(folder) / FIGURES)


def is_drawn(folder: Path) -> bool:
    """Whether a finished run has both pictures, as `draw_run` leaves them."""
    return all(drawing.up_to_date(folder / FIGURES / name, folder / SUMMARY) for name in PICTURES)


def draw(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Both pictures of some runs, a panel an experiment."""
    pictures = dict(zip(PICTURES, (loss_figure, position_figure), strict=True))
    return [drawing.save(picture(runs), folder / name) for name, picture in pictures.items()]


def loss_figure(runs: Sequence[Run]) -> Figure:
    """Validation loss by direction over training, a panel for each group of runs that differ by seed."""
    arms = gather(runs)
    with mpl.rc_context(drawing.STYLE):
        figure, found = drawing.panels(len(arms))
        ends = [_draw_losses(arm, panel) for arm, panel in zip(arms, found, strict=True)]
        for arm, panel, labels in zip(arms, found, ends, strict=True):
            drawing.token_ticks(panel.strip)
            drawing.end_labels(panel.chart, labels)
            finding = captions.panel_name(arm, arms) + captions.loss_finding(arm)
            drawing.headline(panel, finding, captions.loss_reading(arm))
        drawing.finish(figure, found, x_title="training tokens", reading=captions.loss_legend(arms))
    return figure


def position_figure(runs: Sequence[Run]) -> Figure:
    """Validation loss by position at the end of training, with the crossing marked.

    One experiment gives two panels, all windows and documents' first windows, which alone have a
    true beginning; several experiments give a panel each, all windows.
    """
    arms = gather(runs)
    views = [(arm, ALL) for arm in arms]
    if len(arms) == 1 and all(run.curves[FIRST] for run in arms[0].runs):
        views.append((arms[0], FIRST))
    with mpl.rc_context(drawing.STYLE):
        figure, found = drawing.panels(len(views))
        ends = [_draw_curves(arm, windows, panel) for (arm, windows), panel in zip(views, found, strict=True)]
        for (arm, windows), panel, labels in zip(views, found, ends, strict=True):
            drawing.end_labels(panel.chart, labels)
            of = {ALL: "", FIRST: "First windows of documents\n"}[windows]
            name = of or ("All windows\n" if len(views) > len(arms) else captions.panel_name(arm, arms))
            finding = name + captions.crossing_finding(arm, windows)
            drawing.headline(panel, finding, captions.curves_reading(arm, windows))
        x_title = "tokens already read in that direction (log scale)"
        drawing.finish(figure, found, x_title=x_title, reading=captions.curves_legend(arms))
    return figure


def _draw_losses(arm: Arm, panel: drawing.Panel) -> dict[str, End]:
    ends = {}
    for run in arm.runs:
        _draw_training(panel.chart, run, named=run is arm.runs[0])
    for direction in Direction:
        line = _over_tokens(arm, keys.val_nll(direction))
        ends[f"{direction} {line.mean[-1]:.3f}"] = drawing.draw_direction(panel.chart, line, direction)
    gap = _over_tokens(arm, keys.VAL_GAP)
    end = drawing.draw_line(panel.strip, gap, NEUTRAL)
    drawing.zero_line(panel.strip)
    drawing.end_labels(panel.strip, {f"{gap.mean[-1]:+.3f}": end})
    return ends


def _draw_training(axes: Axes, run: Run, *, named: bool) -> None:
    rows = [row for row in run.metrics if keys.TRAIN_NLL in row]
    if not rows:
        return
    tokens, losses = ([number(row[key]) for row in rows] for key in (keys.TOKENS, keys.TRAIN_NLL))
    axes.plot(tokens, losses, color=NEUTRAL, alpha=0.35, linewidth=0.8, zorder=0)
    if named:
        early = len(rows) // 5
        at = (tokens[early], min(losses[: early + 1]))
        drawing.note(axes, "training loss", at, (-4, -4), xycoords="data", ha="right", va="top")


def _over_tokens(arm: Arm, key: str) -> Line:
    """A number of validation over training, as the mean of the runs; their steps are the same."""
    tokens = [np.asarray([float(row[keys.TOKENS]) for row in run.validations]) for run in arm.runs]
    values = [np.asarray([number(row[key]) for row in run.validations]) for run in arm.runs]
    common = [np.interp(tokens[0], x, y) for x, y in zip(tokens, values, strict=True)]
    return Line.over(tokens[0], np.stack(common))


def _draw_curves(arm: Arm, windows: str, panel: drawing.Panel) -> dict[str, End]:
    position = _common_positions(arm, windows)
    crossings = captions.crossings_of(arm, windows)
    width = int(crossings[0].get("smoothing", 1))
    ends, smoothed = {}, {}
    for direction in Direction:
        curves = [run.curves[windows][direction] for run in arm.runs]
        raw, counts = (np.stack([_at(curve, name, position) for curve in curves]) for name in MEANS)
        panel.chart.plot(position, raw.mean(axis=0), color=COLOURS[direction], alpha=0.5, linewidth=0.8)
        smoothed[direction] = smooth(raw, width, counts)
        line = Line.over(position, smoothed[direction])
        ends[str(direction)] = drawing.draw_direction(panel.chart, line, direction, smoothing=width)
        if len(arm.runs) == 1 and windows == ALL and arm.runs[0].intervals:
            _draw_interval(panel.chart, arm.runs[0].intervals[direction], COLOURS[direction])
    difference = Line.over(position, smoothed[Direction.REVERSE] - smoothed[Direction.FORWARD])
    drawing.draw_line(panel.strip, difference, NEUTRAL)
    drawing.zero_line(panel.strip)
    drawing.position_ticks(panel.strip, position[-1])
    for crossing, axes in itertools.product(crossings, (panel.chart, panel.strip)):
        drawing.mark_crossing(axes, crossing, position[-1], span=len(arm.runs) == 1)
    if len(arm.runs) == 1:
        _name_crossing(panel.chart, crossings[0], position[-1])
    return ends


def _name_crossing(axes: Axes, crossing: Crossing, last: float) -> None:
    look: Any = {"xycoords": drawing.COLUMN, "va": "top", "fontsize": 8.5, "color": "black"}
    where = crossing.get("position")
    if where is None:
        text = "the curves never cross" if "position" in crossing else "crossing not measured"
        drawing.note(axes, text, (last / 2, 1), (4, -4), ha="right", **look)
    else:
        text = f"cross at {where}" if where else "from the start"
        drawing.note(axes, text, (where, 1), (4, -4), **look)


def _common_positions(arm: Arm, windows: str) -> FloatArray:
    """Positions (P,) at which every run has counted tokens in both directions."""
    known = [
        curve.position[np.isfinite(curve.columns["nll"])]
        for run in arm.runs
        for curve in run.curves[windows].values()
    ]
    return functools.reduce(np.intersect1d, known)


def _at(curve: Curve, column: str, position: FloatArray) -> FloatArray:
    return curve.columns[column][np.isin(curve.position, position)]


def _draw_interval(axes: Axes, interval: Curve, colour: str) -> None:
    # A bound is infinite where some resamples hold no token.
    low, high = (np.ma.masked_invalid(interval.columns[bound]) for bound in BOUNDS)
    axes.fill_between(interval.position, low, high, color=colour, alpha=BAND, linewidth=0, zorder=1)
