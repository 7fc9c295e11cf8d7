"""A finished comparison at equal context, as a picture and as the end of its command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from revlm.direction import Direction
from revlm.pages import drawing
from revlm.pages.drawing import COLOURS, DASHES, NEUTRAL, FloatArray, Line
from revlm.pages.files import Folder
from revlm.pages.text import table_text
from revlm.scores.table import CONTEXTS_SUMMARY
from revlm.statistics.effect import Effect

DIFFERENCE = "forward minus reverse, nats per token (above 0: reverse is easier)"
NEEDED = ("model", "window", "num_documents", "skipped", "contexts")
Row = Mapping[str, Any]


def read_contexts(folder: Path | str) -> dict[str, Any]:
    """What contexts.json of a finished comparison says.

    Raises:
        UserError: the comparison is not finished, or the file is damaged.
    """
    return Folder(Path(folder), "give its python -m revlm.contexts again").json(CONTEXTS_SUMMARY, NEEDED)


def draw_contexts(folder: Path | str) -> Path:
    """Draw figures/contexts.png into the folder of a finished comparison, from its files alone.

    Raises:
        UserError: see `read_contexts`.
    """
    return drawing.save(contexts_figure(read_contexts(folder)), Path(folder) / "figures" / "contexts.png")


def contexts_figure(summary: Mapping[str, Any]) -> Figure:
    """Both losses of the same tokens over context length, and under them their difference with its interval."""
    rows = summary["contexts"]
    with mpl.rc_context(drawing.STYLE):
        figure, (panel,) = drawing.panels(1)
        ends = _draw(panel, rows)
        panel.strip.xaxis.set_major_locator(MaxNLocator(9, integer=True, steps=[1, 2, 4, 8, 10]))
        drawing.zero_line(panel.strip, DIFFERENCE)
        drawing.end_labels(panel.chart, ends)
        size, difference = rows[-1]["context"], rows[-1]["difference"]
        drawing.end_labels(panel.strip, {f"{difference:+.3f}": (size, difference, NEUTRAL)})
        drawing.headline(panel, f"{summary['model']}\n{finding(rows)}", sureness(rows))
        x_title = "context: tokens on the left (forward) or on the right (reverse)"
        drawing.finish(figure, [panel], x_title=x_title, reading=legend(rows))
        panel.chart.set_ylabel("loss, nats per token")
    return figure


def context_table(summary: Mapping[str, Any]) -> str:
    """The end of a comparison for the terminal: a row a context length, over the whole corpus."""
    header = ["context", "forward", "reverse", "difference [95%]", "documents", "tokens"]
    rows = []
    for row in summary["contexts"]:
        losses = [f"{row[f'nll_{direction}']:.4f}" for direction in Direction]
        counts = [f"{row[key]:,}" for key in ("num_documents", "num_tokens")]
        difference = _difference(row).text("+.4f", counts="none")
        rows.append([str(row["context"]), *losses, difference, *counts])
    title = (
        f"{summary['model']}: nats per token, the same tokens given their k left tokens (forward) and their k right ones "
        "(reverse); difference = forward - reverse (above 0: reverse is easier)"
    )
    return table_text(title, header, rows, summary)


def finding(rows: Sequence[Row]) -> str:
    """Which side tells more about a token at the longest context, by how much; or that neither surely does."""
    found, size = _difference(rows[-1]), rows[-1]["context"]
    if not found.apart:
        return f"No sure difference between {size} tokens on the left and {size} on the right of a token"
    side, other = ("right", "left") if found.apart > 0 else ("left", "right")
    return f"{size} tokens on the {side} of a token tell {abs(found.value):.3f} nats more than {size} on its {other}"


def sureness(rows: Sequence[Row]) -> str:
    """The interval at the longest context, and at how many lengths zero lies outside of it."""
    last = _difference(rows[-1])
    if last.low is None:
        return "One document: no interval."
    sides = [_difference(row).apart for row in rows]
    return (
        f"Forward minus reverse there, with its 95% interval over n documents: {last.text('+.4f')}. The interval lies "
        f"above 0 at {sides.count(1)} and below 0 at {sides.count(-1)} of {len(rows)} context lengths (not corrected "
        "for their number). One model, no interval over seeds."
    )


def legend(rows: Sequence[Row]) -> str:
    """How to read the lines, and which tokens stand behind them."""
    counts = [row["num_tokens"] for row in rows]
    documents = [row["num_documents"] for row in rows]
    return (
        "At each context length both lines are means over the same tokens: forward given the tokens on their left, reverse "
        "given as many on their right. Lines join context lengths that are measured on the same tokens, dots are those "
        "between, measured on the tokens halfway between. Bands and thin marks: 95% intervals of the difference, from "
        f"resampled documents. {min(counts):,} to {max(counts):,} tokens of {min(documents):,} to {max(documents):,} "
        "documents, fewest at both ends, since both windows of a token must lie within its document."
    )


def _draw(panel: drawing.Panel, rows: Sequence[Row]) -> dict[str, drawing.End]:
    x, ends = _column(rows, "context"), {}
    for direction in Direction:
        line = Line.over(x, _column(rows, f"nll_{direction}")[None])
        label = f"{direction} {line.mean[-1]:.3f}"
        ends[label] = _draw_line(panel.chart, line, COLOURS[direction], DASHES[direction])
    difference = Line(x, *(_column(rows, name) for name in ("difference", "low", "high")))
    _draw_line(panel.strip, difference, NEUTRAL)
    return ends


def _draw_line(axes: Axes, line: Line, colour: str, dashes: Any = "-") -> drawing.End:
    """A line through every second context, whose tokens are the same; those between as dots.

    One line through all of them would swing between two samples of tokens.
    """
    joined, between = line[::2], line[1::2]
    drawing.draw_line(axes, joined, colour, dashes=dashes)
    dots: Any = {"color": colour, "markeredgewidth": 0}
    axes.plot(joined.x, joined.mean, "o", markersize=4, zorder=4, **dots)
    axes.plot(between.x, between.mean, "o", markersize=3, alpha=0.6, zorder=2, **dots)
    axes.vlines(between.x, between.low, between.high, color=colour, linewidth=0.8, alpha=0.4, zorder=1)
    return float(line.x[-1]), float(line.mean[-1]), colour


def _column(rows: Sequence[Row], name: str) -> FloatArray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)


def _difference(row: Row) -> Effect:
    """Forward minus reverse at one context length, with its interval over documents."""
    return Effect(row["difference"], row["low"], row["high"], row["num_documents"])
