"""Where a scoring run's curves cross, domain by domain, with intervals."""

from __future__ import annotations

import textwrap

import matplotlib as mpl
from matplotlib.figure import Figure

from revlm.pages.drawing import NEUTRAL, STYLE
from revlm.pages.files import Crossing
from revlm.pages.scores.captions import crossing_words, crossings_finding
from revlm.pages.scores.panels import caption
from revlm.pages.scores.run import ScoreRun

READING = (
    "Dots: position of the crossing. Lines: 95% interval over resamples of the documents. Arrows: the interval goes on "
    "past the longest text. A hollow triangle: the curves never cross."
)


def crossings_figure(run: ScoreRun) -> Figure:
    """Crossings as dots with their intervals, the corpus on top and domains from early to late.

    Args:
        run: of one model.
    """
    domains = {name: run.crossing(name) for name in run.summary["by_domain"]}
    ordered = sorted(domains, key=lambda name: (_place(domains[name], float("inf")), name))
    rows = {"the whole corpus": run.crossing(None)} | {name: domains[name] for name in ordered}
    edge = float(max([found.get("window", 1) for found in rows.values()]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.9 + 0.3 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for row, found in enumerate(rows.values()):
            never = found.get("position") is None
            place = _place(found, edge)
            if found.get("low") is not None:
                high = edge if found.get("high") is None else found["high"]
                axes.plot([found["low"], high], [row, row], color=NEUTRAL, linewidth=2)
                if found.get("high") is None and not never:
                    axes.plot(edge, row, ">", color=NEUTRAL, markersize=6)
            axes.plot(
                place, row, ">" if never else "o", color="black", markerfacecolor="none" if never else None
            )
            axes.annotate(
                f"{crossing_words(found)}, n={found.get('num_documents', 0):,}",
                (1.02, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                annotation_clip=False,
            )
        axes.set_yticks(range(len(rows)), [textwrap.shorten(name, 40, placeholder="...") for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.02 * edge, 1.03 * edge)
        axes.set_xlabel("tokens already read where reverse comes to stay at or below forward")
        caption(figure, crossings_finding(domains, run.summary.get("window")), READING)
    return figure


def _place(found: Crossing, otherwise: float) -> float:
    return otherwise if found.get("position") is None else float(found["position"])
