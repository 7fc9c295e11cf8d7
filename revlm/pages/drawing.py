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
from matplotlib.layout_engine import ConstrainedLayoutEngine
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
# What explains a picture, in print smaller than its axes; an inch of width holds so many of its letters.
SMALL: Any = {"fontsize": 8, "color": NEUTRAL}
SMALL_LETTERS = 14.5
LARGE: Any = {"fontsize": 11, "fontweight": "bold"}
LARGE_LETTERS = 10.6
# Frames of a place: shares of the axes, a row of a chart, or a place on its x axis.
FRACTION, ROW, COLUMN = "axes fraction", ("axes fraction", "data"), ("data", "axes fraction")
REVERSE_MINUS_FORWARD = "reverse minus forward, nats per token (below 0: reverse is easier)"
COLUMNS = 3
BAND = 0.18  # how faint a band is
MANY_TICKS = 11
NEAR = 0.07  # labels closer than this share of an axis would overlap
# Where a line ends, for its label: x, y, colour.
End = tuple[float, float, str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """A chart above a thin strip of differences, both over the same x axis."""

    chart: Axes
    strip: Axes
    width: float  # inches; headlines are wrapped to it


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

    def __getitem__(self, kept: slice) -> Line:
        """Some of its points."""
        return Line(self.x[kept], self.mean[kept], self.low[kept], self.high[kept])


def panels(count: int) -> tuple[Figure, list[Panel]]:
    """A figure of `count` panels that share the y axis of their charts."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    width, height = (7.6, 5.4) if count == 1 else (5.4, 4.9)
    figure = Figure(figsize=(width * columns, height * rows), layout=roomy())
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
    found: list[Panel] = []
    for index in range(count):
        row, column = divmod(index, columns)
        chart = figure.add_subplot(grid[2 * row, column], sharey=found[0].chart if found else None)
        strip = figure.add_subplot(grid[2 * row + 1, column], sharex=chart)
        chart.tick_params(labelbottom=False)
        found.append(Panel(chart, strip, width))
    return figure, found


def roomy() -> ConstrainedLayoutEngine:
    """A layout with room between panels that carry sentences."""
    return ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)


def draw_line(axes: Axes, line: Line, colour: str, *, dashes: Any = "-") -> End:
    """A line with its band; a single point is a dot."""
    marker = "o" if len(line.x) == 1 else ""
    axes.plot(line.x, line.mean, color=colour, linewidth=2.0, linestyle=dashes, marker=marker, zorder=3)
    axes.fill_between(line.x, line.low, line.high, color=colour, alpha=BAND, linewidth=0, zorder=1)
    return float(line.x[-1]), float(line.mean[-1]), colour


def draw_direction(axes: Axes, line: Line, direction: Direction, *, smoothing: int = 1) -> End:
    """A line in the look of its direction; one that is smoothed over so many points begins half of them later.

    Before, there is less to average over, and a steep start looks flat.
    """
    start = smoothing // 2 if len(line.x) > smoothing else 0
    return draw_line(axes, line[start:], COLOURS[direction], dashes=DASHES[direction])


def mark_crossing(axes: Axes, crossing: Mapping[str, Any], last: float, *, span: bool = True) -> None:
    """A line where the curves cross, and a span over the interval; nothing where they never do."""
    if crossing.get("position") is not None:
        axes.axvline(crossing["position"], color="black", linewidth=1.0, linestyle=":", zorder=2)
    if span and crossing.get("low") is not None:
        high = last if crossing.get("high") is None else crossing["high"]
        axes.axvspan(crossing["low"], high, color="black", alpha=0.07, linewidth=0, zorder=0)


def note(axes: Axes, text: str, at: Point, shift: Point = (0, 0), **look: Any) -> None:
    """Small print, `shift` points from a place that is a share of the axes, or in the frame `xycoords`."""
    known = {"xycoords": FRACTION, "annotation_clip": False, **SMALL, **look}
    axes.annotate(text, at, xytext=shift, textcoords="offset points", **known)


def row_note(axes: Axes, row: float, text: str) -> None:
    """What a row of a chart says in numbers, to the right of it."""
    note(axes, text, (1.01, row), xycoords=ROW, va="center", color="black")


def headline(panel: Panel, finding: str, reading: str) -> None:
    """The finding in bold, and under it in grey how sure it is."""
    small = _wrapped(reading, panel.width * SMALL_LETTERS)
    note(panel.chart, small, (0, 1), (0, 7), va="bottom")
    title = "\n".join(_wrapped(part, panel.width * LARGE_LETTERS) for part in finding.splitlines())
    panel.chart.set_title(title, loc="left", pad=12 + 11.5 * len(small.splitlines()), **LARGE)


def caption(figure: Figure, finding: str, reading: str) -> None:
    """The finding in bold above all charts, and under them in grey how to read them."""
    title = _wrapped(finding, figure.get_size_inches()[0] * LARGE_LETTERS)
    figure.suptitle(title, x=0.01, ha="left", **LARGE)
    legend(figure, reading)


def legend(figure: Figure, reading: str) -> None:
    """Under all charts in grey how to read them."""
    text = _wrapped(reading, figure.get_size_inches()[0] * SMALL_LETTERS)
    figure.supxlabel(text, x=0.01, ha="left", **SMALL)


def _wrapped(text: str, letters: float) -> str:
    return "\n".join(textwrap.wrap(text, int(letters)))


def end_labels(axes: Axes, ends: Mapping[str, End]) -> None:
    """Write each line's name at its right end, apart from one another; the axes have their limits by now."""
    low, high = axes.get_ylim()
    ordered = sorted(ends.items(), key=lambda item: item[1][1])
    near = len(ordered) > 1 and ordered[1][1][1] - ordered[0][1][1] < NEAR * (high - low)
    look: Any = {"xycoords": "data", "va": "center", "fontsize": 9, "fontweight": "bold"}
    for index, (text, (x, y, colour)) in enumerate(ordered):
        shift = (-6 if index == 0 else 6) if near else 0
        note(axes, text, (x, y), (7, shift), color=colour, **look)


def zero_line(strip: Axes, title: str = REVERSE_MINUS_FORWARD) -> None:
    """A line at zero, and what it means to lie on either side of it."""
    strip.axhline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
    low, high = min(strip.get_ylim()[0], 0), max(strip.get_ylim()[1], 0)
    margin = 0.15 * (high - low or 1.0)
    strip.set_ylim(low - margin, high + margin)
    strip.yaxis.set_major_locator(MaxNLocator(4))
    strip.set_title(title, loc="left", **SMALL)


def finish(figure: Figure, found: Sequence[Panel], *, x_title: str, reading: str) -> None:
    """Axis titles, and under all panels how to read them."""
    for panel in found:
        panel.chart.set_ylabel("validation loss, nats per token")
        panel.strip.set_xlabel(x_title)
    legend(figure, reading)


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
    units = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
    size, unit = next((found for found in units if abs(value) >= found[0]), (1, ""))
    return f"{value / size:.3g}{unit}"


def up_to_date(path: Path, source: Path) -> bool:
    """Whether a picture is there and not older than the file that it was drawn from."""
    return path.exists() and path.stat().st_mtime_ns >= source.stat().st_mtime_ns


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG whole or not at all, without date or version: equal pictures are equal files."""
    data = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A script that no installed font has is drawn as boxes; the tables beside have the names.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(data, format="png", metadata={"Software": None})
    write_atomically(path, data.getvalue())
    return path
