"""Where a scoring run's curves cross, domain by domain, with intervals."""

from __future__ import annotations

import textwrap

import matplotlib as mpl
from matplotlib.figure import Figure

from revlm.pages import drawing
from revlm.pages.drawing import NEUTRAL
from revlm.pages.scores.captions import crossing_words, crossings_finding
from revlm.pages.scores.run import ScoreRun

READING = (
    "Dots: position of the crossing. Lines: 95% interval over resamples of the documents. Arrows: the interval goes on "
    "past the longest text. A hollow triangle: the curves never cross."
)


def crossings_figure(run: ScoreRun) -> Figure:
    """Crossings of one model's run as dots with intervals, the corpus on top and domains from early to late."""
    domains = {name: run.crossing(name) for name in run.summary["by_domain"]}
    crossed = [name for name, found in domains.items() if found.get("position") is not None]
    ordered = sorted(crossed, key=lambda name: (domains[name]["position"], name))
    ordered += sorted(domains.keys() - crossed)
    rows = {"the whole corpus": run.crossing(None)} | {name: domains[name] for name in ordered}
    edge = float(max([found.get("window", 1) for found in rows.values()]))
    with mpl.rc_context(drawing.STYLE):
        figure = Figure(figsize=(7.6, 1.9 + 0.3 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for row, found in enumerate(rows.values()):
            place, low, high = (found.get(key) for key in ("position", "low", "high"))
            if low is not None:
                axes.plot([low, edge if high is None else high], [row, row], color=NEUTRAL, linewidth=2)
                if high is None and place is not None:
                    axes.plot(edge, row, ">", color=NEUTRAL, markersize=6)
            marker, inside = (">", "none") if place is None else ("o", None)
            axes.plot(edge if place is None else place, row, marker, color="black", markerfacecolor=inside)
            drawing.row_note(axes, row, f"{crossing_words(found)}, n={found.get('num_documents', 0):,}")
        axes.set_yticks(range(len(rows)), [textwrap.shorten(name, 40, placeholder="...") for name in rows])
        axes.set(xlim=(-0.02 * edge, 1.03 * edge), ylim=(len(rows) - 0.5, -0.5))
        axes.set_xlabel("tokens already read where reverse comes to stay at or below forward")
        drawing.caption(figure, crossings_finding(domains, run.summary.get("window")), READING)
    return figure
