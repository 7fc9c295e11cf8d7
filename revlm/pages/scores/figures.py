"""A scoring run as pictures: S by domain, curves by domain, and those of score_panels."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.data.order import mix64
from revlm.direction import Direction
from revlm.measures.crossing import ALL, smooth
from revlm.pages import drawing
from revlm.pages.drawing import COLOURS, NEUTRAL, Line
from revlm.pages.files import Crossing, Curve
from revlm.pages.scores import captions
from revlm.pages.scores.captions import Spread
from revlm.pages.scores.panels import agreement_figure, confounds_figure
from revlm.pages.scores.run import ScoreRun, domain_labels, read_score_run
from revlm.scores.columns import read_columns
from revlm.scores.table import SUMMARY

FIGURES = "figures"
MOST_ROWS = 30  # domains in one chart of S
MOST_PANELS = 15  # domains with curves
FEW = 5  # documents: fewer have no box
MOST_DOTS = 250  # documents drawn as dots, a domain
CURVE_COLUMNS = 4


def draw_scores(folder: Path | str) -> list[Path]:
    """Draw a finished scoring run into its folder, from its files alone.

    Returns:
        The pictures: s_by_domain, confounds, curves_by_domain (of one model), agreement (of several).

    Raises:
        UserError: the folder is no finished scoring run, or a file is damaged.
    """
    run = read_score_run(folder)
    return [
        drawing.save(picture(run), run.folder / FIGURES / name) for name, picture in _pictures(run).items()
    ]


def are_drawn(run: ScoreRun) -> bool:
    """Whether a finished scoring run has its pictures, as `draw_scores` leaves them."""
    paths = [run.folder / FIGURES / name for name in _pictures(run)]
    return all(drawing.up_to_date(path, run.folder / SUMMARY) for path in paths)


def _pictures(run: ScoreRun) -> dict[str, Callable[[ScoreRun], Figure]]:
    pictures: dict[str, Callable[[ScoreRun], Figure]] = {
        "s_by_domain.png": spread_figure,
        "confounds.png": confounds_figure,
    }
    if run.curves:
        pictures["curves_by_domain.png"] = curves_by_domain_figure
    if len(run.models) > 1:
        pictures["agreement.png"] = agreement_figure
    return pictures


def spread_figure(run: ScoreRun) -> Figure:
    """S of documents by domain, and by language where there are several; sorted by median."""
    columns = read_columns(run.table, ["s"], ["domain", "language"])
    s = columns.numbers["s"]
    categories = ["domain", "language"] if len(columns.names["language"]) > 1 else ["domain"]
    names = {**columns.names, "domain": domain_labels(run, columns.names["domain"])}
    charts = [_spreads(s, columns.categories[name], names[name]) for name in categories]
    largest = [sorted(groups, key=lambda group: (-len(group.s), group.name))[:MOST_ROWS] for groups in charts]
    shown = [sorted(groups, key=lambda group: -group.median.value) for groups in largest]
    low, high = _limits(shown[0])
    heights = [len(groups) + 1.2 for groups in shown]
    with mpl.rc_context(drawing.STYLE):
        figure = Figure(figsize=(7.6, 2.0 + 0.36 * sum(heights)), layout="constrained")
        grid = figure.subplots(len(shown), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, groups in zip(grid, shown, strict=True):
            _draw_spreads(axes, groups, (low, high))
        for axes in grid[1:]:
            axes.set_title("the same documents by language", loc="left", **drawing.SMALL)
        _name_sides(grid[0])
        grid[-1].set_xlabel(captions.S_TITLE)
        outside = int(((s < low) | (s > high)).sum())
        hidden = len(charts[0]) - len(shown[0])
        reading = captions.spread_reading(shown[0], outside=outside, hidden=hidden)
        drawing.caption(figure, captions.spread_finding(shown[0]), reading)
    return figure


def curves_by_domain_figure(run: ScoreRun) -> Figure:
    """Loss by position in either direction, a small panel for the corpus and for each larger domain."""
    domains = sorted(name for name in run.curves if name in run.summary["by_domain"])
    largest = sorted(domains, key=lambda name: (-_tokens(run.curves[name]), name))[:MOST_PANELS]
    # A domain of that very name leaves the file without the corpus.
    whole = [ALL] if len(domains) > 1 and ALL not in domains else []
    names = whole + sorted(largest)
    crossings = {name: run.crossing(name) for name in domains}
    columns = min(len(names), CURVE_COLUMNS)
    rows = -(-len(names) // columns)
    width, height = (3.3, 2.4) if columns > 1 else (7.0, 3.6)
    with mpl.rc_context(drawing.STYLE):
        figure = Figure(figsize=(width * columns, 1.5 + height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True).flat
        for name, axes in zip(names, grid, strict=False):
            _draw_curves(axes, run.curves[name], run.crossing(None if name in whole else name))
            title = "the whole corpus" if name in whole else textwrap.shorten(name, 34, placeholder="...")
            axes.set_title(title, loc="left", fontsize=8.5, fontweight="bold", pad=15)
        last = max(curve.position[-1] for name in names for curve in run.curves[name].values())
        for index, axes in enumerate(figure.axes):
            drawing.position_ticks(axes, last)
            axes.tick_params(labelsize=7, labelbottom=index + columns >= len(names))
            axes.set_visible(index < len(names))
        figure.supylabel("loss, nats per token", fontsize=9)
        rule = next((found for found in [run.crossing(None), *crossings.values()] if found), {})
        finding = captions.crossings_finding(crossings, rule.get("window"))
        hidden = len(domains) - len(largest)
        reading = captions.crossings_reading(rule, panels=len(names), hidden=hidden)
        drawing.caption(figure, finding, reading)
    return figure


def _spreads(s: Any, codes: Any, names: Sequence[str]) -> list[Spread]:
    known = np.isfinite(s)
    values = [s[known & (codes == code)] for code in range(len(names))]
    return [captions.spread_of(name, found) for name, found in zip(names, values, strict=True) if len(found)]


def _limits(groups: Sequence[Spread]) -> tuple[float, float]:
    """What the picture shows: zero, every whisker and interval, and all but the outermost documents."""
    seen = [0.0, *np.quantile(np.concatenate([group.s for group in groups]), [0.005, 0.995])]
    for group in groups:
        few = len(group.s) < FEW
        seen += np.quantile(group.s, [0, 1] if few else [0.05, 0.95]).tolist()
        seen += [group.median.low or 0, group.median.high or 0]
    margin = 0.06 * (max(seen) - min(seen) or 1)
    return float(min(seen) - margin), float(max(seen) + margin)


def _draw_spreads(axes: Axes, groups: Sequence[Spread], limits: tuple[float, float]) -> None:
    axes.axvline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
    for row, group in enumerate(groups):
        _draw_spread(axes, row, group)
        drawing.row_note(axes, row, f"{group.median.value:+.3f}  n={len(group.s):,}")
    names = [textwrap.shorten(group.name, 40, placeholder="...") for group in groups]
    axes.set_yticks(range(len(groups)), labels=names)
    axes.set(xlim=limits, ylim=(len(groups) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)


def _draw_spread(axes: Axes, row: int, group: Spread) -> None:
    """Dots, a box that they show through beside, the median on top; too few documents for a box are dots."""
    colour = COLOURS[Direction.REVERSE if group.median.value > 0 else Direction.FORWARD]
    if len(group.s) < FEW:
        axes.plot(group.s, np.full_like(group.s, row), "o", color=colour, markersize=5, alpha=0.7, zorder=2)
        return
    # Every k-th of the sorted values: the dots spread as all of them do.
    every = group.s[:: -(-len(group.s) // MOST_DOTS)]
    jitter = (mix64(np.arange(len(every), dtype=np.uint64)) >> np.uint64(11)) / 2.0**53 - 0.5
    dots: Any = {"markersize": 2, "alpha": 0.3, "markeredgewidth": 0}
    axes.plot(every, row + jitter / 2, "o", color=colour, zorder=1, **dots)
    low, first, third, high = np.quantile(group.s, [0.05, 0.25, 0.75, 0.95])
    axes.plot([low, high], [row, row], color=colour, linewidth=1.2, zorder=2)
    # Opaque paper below the tint, so that no dot shows through.
    for paint, alpha, edge in (("white", 1.0, colour), (colour, 0.3, "none")):
        look: Any = {"color": paint, "alpha": alpha, "edgecolor": edge, "linewidth": 1.2}
        axes.barh(row, third - first, 0.52, first, zorder=2, **look)
    median = group.median
    if median.low is not None and median.high is not None:
        axes.plot([median.low, median.high], [row, row], color="black", linewidth=2.2, zorder=3)
    axes.plot([median.value] * 2, [row - 0.26, row + 0.26], color="black", linewidth=1.4, zorder=3)


def _name_sides(axes: Axes) -> None:
    """Which side of zero means what, where there is room for it."""
    for text, side, shift in zip(captions.SIDES, ("right", "left"), (-6, 6), strict=True):
        drawing.note(axes, text, (0, 1), (shift, 3), xycoords=drawing.COLUMN, ha=side, va="bottom")


def _tokens(curves: dict[Direction, Curve]) -> float:
    return float(sum(curve.columns["count"].sum() for curve in curves.values()))


def _draw_curves(axes: Axes, curves: dict[Direction, Curve], found: Crossing) -> None:
    width = int(found.get("smoothing", 1))
    for direction in Direction:
        curve = curves[direction]
        nll, count = curve.columns["nll"], curve.columns["count"]
        axes.plot(curve.position, nll, color=COLOURS[direction], alpha=0.35, linewidth=0.6)
        line = Line.over(curve.position, smooth(nll, width, count)[None])
        drawing.draw_direction(axes, line, direction, smoothing=width)
    drawing.mark_crossing(axes, found, float(curves[Direction.FORWARD].position[-1]))
    size = f"{found['num_documents']:,}" if "num_documents" in found else "?"
    text = f"n={size}, {captions.crossing_words(found)}"
    # A long line may reach over the gap, but takes no room from the panel.
    drawing.note(axes, text, (0, 1), (0, 4), fontsize=7.5, in_layout=False)
