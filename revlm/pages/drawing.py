"""The look of every picture: colours, panels, headlines, labels on lines, and equal bytes for equal input."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.ticker import FuncFormatter, MaxNLocator

from revlm.cache import write_atomically
from revlm.direction import Direction

FloatArray = npt.NDArray[np.float64]

# Okabe and Ito's blue and vermilion: told apart with any colour vision, and in grey.
COLOURS = {Direction.FORWARD: "#0072B2", Direction.REVERSE: "#D55E00"}
# Where both lines coincide, the dashes of the upper one let the lower one through.
DASHES: dict[Direction, Any] = {Direction.FORWARD: "-", Direction.REVERSE: (0, (5, 2))}
NEUTRAL = "#5A5A5A"
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Noto Sans Arabic", "Noto Sans Devanagari",
         "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Arial Unicode MS", "Unifont")  # fmt: skip
STYLE: Any = {
    # A name may be in any script: what the first font lacks, the next one has, where it is installed.
    "font.family": [name for name in FONTS if name == FONTS[0] or name in get_font_names()],
    # A domain may be called $a_b$.
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": NEUTRAL,
    "axes.linewidth": 0.8,
    "axes.labelcolor": "#222222",
    "axes.formatter.useoffset": False,
    "figure.dpi": 140.0,
    "figure.facecolor": "white",
    "savefig.dpi": "figure",
    "savefig.bbox": None,
    "savefig.facecolor": "auto",
}
COLUMNS = 3
BAND = 0.18  # how faint a band is
MANY_TICKS = 11
NEAR = 0.07  # labels closer than this share of an axis would overlap


@dataclass(frozen=True)
class Panel:
    """A chart above a thin strip of differences, both over the same x axis."""

    chart: Axes
    strip: Axes
    # Inches; headlines are wrapped to it.
    width: float


@dataclass(frozen=True)
class Line:
    """A mean (P,) and the band around it; without a band, low and high are nan."""

    x: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def over(cls, x: FloatArray, values: FloatArray) -> Line:
        """The mean of several lines (n, P) and the band from the lowest to the highest."""
        band = values if len(values) > 1 else np.full_like(values, np.nan)
        return cls(x, values.mean(axis=0), band.min(axis=0), band.max(axis=0))


def panels(count: int) -> tuple[Figure, list[Panel]]:
    """A figure of `count` panels that share the y axis of their charts."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    width, height = (7.6, 5.4) if count == 1 else (5.4, 4.9)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
    found: list[Panel] = []
    for index in range(count):
        row, column = divmod(index, columns)
        chart = figure.add_subplot(grid[2 * row, column], sharey=found[0].chart if found else None)
        strip = figure.add_subplot(grid[2 * row + 1, column], sharex=chart)
        chart.tick_params(labelbottom=False)
        found.append(Panel(chart, strip, width))
    return figure, found


def draw_line(axes: Axes, line: Line, colour: str, *, dashes: Any = "-", start: int = 0) -> None:
    """A line, from its entry `start` on, with its band; a single point is a dot."""
    marker = "o" if len(line.x) == 1 else ""
    x, mean = line.x[start:], line.mean[start:]
    axes.plot(x, mean, color=colour, linewidth=2.0, linestyle=dashes, marker=marker, zorder=3)
    low, high = line.low[start:], line.high[start:]
    axes.fill_between(x, low, high, color=colour, alpha=BAND, linewidth=0, zorder=1)


def headline(panel: Panel, finding: str, reading: str) -> None:
    """The finding in bold, and under it in grey how sure it is."""
    lines = textwrap.wrap(reading, int(panel.width * 14.5))
    panel.chart.annotate(
        "\n".join(lines),
        (0, 1),
        xytext=(0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize=8,
        color=NEUTRAL,
    )
    title = "\n".join(
        line for part in finding.splitlines() for line in textwrap.wrap(part, int(panel.width * 10.6))
    )
    panel.chart.set_title(title, loc="left", pad=12 + 11.5 * len(lines), fontsize=11, fontweight="bold")


def end_labels(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each line's name at its right end, apart from one another.

    Args:
        axes: with its limits settled.
        ends: text -> x, y, colour.
    """
    low, high = axes.get_ylim()
    ordered = sorted(ends.items(), key=lambda item: item[1][1])
    near = len(ordered) > 1 and ordered[1][1][1] - ordered[0][1][1] < NEAR * (high - low)
    for index, (text, (x, y, colour)) in enumerate(ordered):
        shift = (-6 if index == 0 else 6) if near else 0
        axes.annotate(
            text,
            (x, y),
            xytext=(7, shift),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
        )


def zero_line(strip: Axes) -> None:
    """A line at zero, and what it means to lie on either side of it."""
    strip.axhline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
    low, high = min(strip.get_ylim()[0], 0), max(strip.get_ylim()[1], 0)
    margin = 0.15 * (high - low or 1.0)
    strip.set_ylim(low - margin, high + margin)
    strip.yaxis.set_major_locator(MaxNLocator(4))
    strip.set_title(
        "reverse minus forward, nats per token (below 0: reverse is easier)",
        loc="left",
        fontsize=8,
        color=NEUTRAL,
    )


def finish(figure: Figure, found: Sequence[Panel], *, x_title: str, reading: str) -> None:
    """Axis titles, and under all panels how to read them."""
    for panel in found:
        panel.chart.set_ylabel("validation loss, nats per token")
        panel.strip.set_xlabel(x_title)
    width = figure.get_size_inches()[0]
    figure.supxlabel(
        "\n".join(textwrap.wrap(reading, int(width * 14.5))),
        x=0.01,
        ha="left",
        fontsize=8,
        color=NEUTRAL,
    )


def token_ticks(axes: Axes) -> None:
    """Counts of tokens as 500k, 1.5M, 20B."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    axes.xaxis.set_major_locator(MaxNLocator(6))


def position_ticks(axes: Axes, last: float) -> None:
    """Positions on a scale of doublings that still shows position 0."""
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=1)
    doublings = [2.0**power for power in range(int(np.log2(max(last, 1))) + 1)]
    kept = doublings[:: 1 if len(doublings) < MANY_TICKS else 2]
    axes.set_xticks([0.0, *kept], labels=["0", *(f"{tick:g}" for tick in kept)])
    axes.minorticks_off()
    axes.set_xlim(-0.25, max(last, 1) * 1.05)


def short_count(value: float) -> str:
    """A count with at most three digits and a unit: 1.5M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG whole or not at all, without date or version: equal pictures are equal files."""
    data = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A script that no installed font has is drawn as boxes; the tables beside have the names.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(data, format="png", metadata={"Software": None})
    write_atomically(path, data.getvalue())
    return path
