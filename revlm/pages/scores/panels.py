"""S against another number, document by document: its confounds, and S under another model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from revlm.direction import Direction
from revlm.pages import drawing
from revlm.pages.drawing import COLOURS, NEUTRAL, FloatArray
from revlm.pages.scores.captions import NATS, S_TITLE, agreement_finding, confounds_finding
from revlm.pages.scores.run import ScoreRun
from revlm.scores.agreement import model_facts, paired_scores, pairwise
from revlm.scores.confounds import TITLES, Confound, S, behind, confound_panel, read_confounds
from revlm.scores.table import SCORES
from revlm.statistics.effect import Effect

DOTS = 2_000  # more documents are drawn as a density
CELLS = 60  # of the density, each way
COLUMNS = 3
MOST_PAIRS = 9
LONG = 24  # letters of a model's name beside an axis
# Of the chart of intervals: shape, colour and place of each kind of correlation.
KINDS = {
    "plain": ("plain", "o", "black", -0.22),
    "partial": ("given the others", "s", COLOURS[Direction.REVERSE], 0.0),
    "within_domain": ("within domains", "D", COLOURS[Direction.FORWARD], 0.22),
}


def confounds_figure(run: ScoreRun) -> Figure:
    """S against each number that it may stand for, and all correlations with their intervals."""
    columns = read_confounds(run.table)
    rows = confound_panel(columns)
    with mpl.rc_context(drawing.STYLE):
        figure = Figure(figsize=(11.4, 7.6), layout=drawing.roomy())
        # Rows of their own: the names beside the last chart would push the panel above it away.
        parts = figure.subfigures(2, 1, squeeze=False)[:, 0]
        grid = [axes for part in parts for axes in part.subplots(1, COLUMNS)]
        s = columns.numbers[S]
        for row, axes in zip([row for row in rows if not row.category], grid, strict=False):
            draw_density(axes, columns.numbers[row.name], s)
            axes.axhline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set(xlabel=TITLES[row.name], ylabel="S, nats per token")
            panel_title(axes, row.plain)
        _draw_intervals(grid[-1], rows)
        left_out = ", the outermost half per cent not shown" if len(columns) > DOTS else ""
        reading = (
            f"{S_TITLE}; above 0: reverse is easier. Each panel: documents{left_out}, and "
            f"Spearman's r with its 95% interval. {behind(columns)} Lower right: r with S; for domain and language the "
            "share of the variance of S's ranks that they explain. S contains the forward loss, so those two go "
            "together by arithmetic alone."
        )
        drawing.caption(figure, confounds_finding(rows), reading)
    return figure


def agreement_figure(run: ScoreRun) -> Figure:
    """S of each document under two models, a panel a pair."""
    tables = {name: folder / SCORES for name, folder in run.models.items()}
    sizes, comparable = model_facts(tables)
    scores = paired_scores(tables)
    rows = pairwise(scores, sizes)
    column, title = ("s", "S") if comparable else ("s_z", "S, z-score within its domain")
    values = scores.s if comparable else scores.s_z
    pairs = list(itertools.combinations(range(len(scores.models)), 2))
    shown = pairs[:MOST_PAIRS]
    columns = min(len(shown), COLUMNS)
    lines = -(-len(shown) // columns)
    found = {(row.model_a, row.model_b, row.statistic): row for row in rows if row.column == column}
    with mpl.rc_context(drawing.STYLE):
        size = (max(3.8 * columns, 7.6), 1.6 + 3.7 * lines)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).flat
        for (one, other), axes in zip(shown, grid, strict=False):
            draw_density(axes, values[one], values[other])
            _draw_diagonal(axes)
            pair = scores.models[one], scores.models[other]
            axes.set(xlabel=f"{title}: {_short(pair[0])}", ylabel=f"{title}: {_short(pair[1])}")
            spearman, pearson = found[*pair, "spearman"], found[*pair, "pearson"]
            panel_title(axes, spearman.found, f"{spearman.kind}; Pearson {pearson.found.value:.3f}")
        for axes in figure.axes[len(shown) :]:
            axes.set_visible(False)
        reading = "Each panel: documents under two models, Spearman's r with its 95% interval over documents. Dashed: equal S."
        if not comparable:
            reading += " The tokenizers differ, so raw S does not compare: z-scores within domains are shown."
        if len(pairs) > len(shown):
            reading += f" {len(pairs) - len(shown)} more pairs are in agreement.csv."
        drawing.caption(figure, agreement_finding(rows, column), reading)
    return figure


def draw_density(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    """Documents as dots, many as a density with a logarithmic scale; the outermost left out."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if not len(x):
        return
    xlim, ylim = _limits(x), _limits(y)
    if len(x) > DOTS:
        counts, across, up = np.histogram2d(x, y, bins=CELLS, range=(xlim, ylim))
        shade = np.ma.masked_equal(counts.T, 0)
        axes.pcolormesh(across, up, shade, cmap="Greys", norm=LogNorm(vmin=0.5), rasterized=True, zorder=0)
    else:
        axes.plot(x, y, "o", color=NEUTRAL, markersize=3, alpha=0.5, markeredgewidth=0, zorder=2)
    axes.set(xlim=xlim, ylim=ylim)


def panel_title(axes: Axes, found: Effect, more: str = "") -> None:
    """The correlation with its interval above a panel, and a second line in grey."""
    text = found.text() if math.isnan(found.value) else f"r = {found.text()}"
    axes.set_title(text, loc="left", fontsize=9, fontweight="bold", pad=18 if more else 6)
    drawing.note(axes, more, (0, 1), (0, 5))


def _limits(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.0025, 0.9975]) if len(values) > DOTS else (values.min(), values.max())
    margin = 0.04 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _draw_intervals(axes: Axes, rows: Sequence[Confound]) -> None:
    """Every correlation as a dot with its interval."""
    axes.axvline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
    for place, row in enumerate(rows):
        for kind, found in row.kinds.items():
            _, marker, colour, shift = KINDS[kind]
            axes.plot(found.value, place + shift, marker, color=colour, markersize=4, zorder=3)
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [place + shift] * 2, color=colour, linewidth=1.4, zorder=2)
    for name, marker, colour, _ in KINDS.values():
        axes.plot([], [], marker, color=colour, markersize=4, label=name)
    names = [TITLES[row.name].removesuffix(NATS) for row in rows]
    starred = [f"{name}*" if row.category else name for name, row in zip(names, rows, strict=True)]
    axes.set_yticks(range(len(rows)), labels=starred)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="r with S (*: share of variance of ranks)")
    look: Any = {"loc": "lower right", "bbox_to_anchor": (1.03, 1), "ncols": 3}
    axes.legend(**look, frameon=False, fontsize=8, handletextpad=0.1, columnspacing=1)


def _draw_diagonal(axes: Axes) -> None:
    """Zero on either axis, and equality where the two ranges have it in common."""
    across, up = axes.get_xlim(), axes.get_ylim()
    axes.axhline(0, color=NEUTRAL, linewidth=0.6, zorder=1)
    axes.axvline(0, color=NEUTRAL, linewidth=0.6, zorder=1)
    low, high = max(across[0], up[0]), min(across[1], up[1])
    if high > low:
        axes.plot([low, high], [low, high], color=NEUTRAL, linewidth=0.8, linestyle="--", zorder=1)
    axes.set(xlim=across, ylim=up)


def _short(name: str) -> str:
    """The end of a long name, which tells models of one family apart."""
    return name if len(name) <= LONG else f"...{name[-LONG:]}"
