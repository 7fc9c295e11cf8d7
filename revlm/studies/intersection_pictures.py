"""The pictures of study 04: losses by position and domain, and the same tokens at equal context."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from revlm.direction import Direction
from revlm.measures.crossing import FloatArray, smooth
from revlm.pages.drawing import COLOURS, DASHES, NEUTRAL, STYLE, position_ticks
from revlm.statistics.effect import Effect
from revlm.studies.arms import READERS
from revlm.studies.crossings import crosses, domains_of
from revlm.studies.effects import pick
from revlm.studies.pictures import NOTE

COLUMNS = 4


def pair_figure(curves: pd.DataFrame, crossings: pd.DataFrame, smoothing: int) -> Figure:
    """Loss by position of the pair of one-direction models, averaged over `smoothing` positions.

    A panel a domain, the crossings of each seed marked.
    """
    domains, seeds = domains_of(curves), curves["seed"].nunique()
    rows = -(-len(domains) // COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * COLUMNS, 2.3 * rows + 0.6), layout="constrained")
        for place, (domain, name) in enumerate(domains.items()):
            axes = figure.add_subplot(rows, COLUMNS, place + 1)
            here, crossed = pick(curves, domain=domain), pick(crossings, domain=domain)
            for direction in Direction:
                line = _mean_over_seeds(pick(here, direction=direction.value), smoothing)
                axes.plot(line, color=COLOURS[direction], linestyle=DASHES[direction], linewidth=1.5)
            for row in crossed.to_dict("records"):
                if row["position"] > 0:
                    sure = 1 if crosses(row) else 0.3
                    axes.axvline(row["position"], color="black", linewidth=1, linestyle=":", alpha=sure)
            position_ticks(axes, float(here["position"].max()))
            axes.tick_params(labelsize=6.5)
            title = f"{name} (n={crossed['num_documents'].max():,})"
            axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
        figure.supylabel("loss, nats per token", fontsize=9)
        figure.supxlabel(
            f"tokens already read. Blue: the forward model; orange, dashed: the reverse model; mean of {seeds} seeds, smoothed over "
            f"{smoothing} positions. Each panel has its own scale.\nDotted: where they cross behind position 0, a line a seed; pale "
            "where the 95% interval over documents reaches position 0 or never.",
            **NOTE,
        )
    return figure


def _mean_over_seeds(curves: pd.DataFrame, smoothing: int) -> FloatArray:
    """Smoothed up to the ends, where fewer positions are averaged: crossings are found on this line."""
    table = curves.pivot_table(
        index="position", columns="seed", values=["nll", "count"], fill_value=0, sort=True
    )
    count = table["count"].to_numpy(float)
    nll = np.average(table["nll"].to_numpy(float), axis=1, weights=count)
    return smooth(nll, smoothing, count.sum(axis=1))


def same_tokens_figure(contexts: pd.DataFrame, same: dict[str, dict[int, Effect]]) -> Figure:
    """Losses of the same tokens over context length, and their difference, a column an arm."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.4 * len(same), 4.9), layout="constrained")
        grid = figure.subplots(2, len(same), sharex=True, squeeze=False, height_ratios=[3, 2])
        for column, (arm, found) in enumerate(same.items()):
            chart, strip = grid[0][column], grid[1][column]
            means = pick(contexts, arm=arm).groupby("context").apply(_means)
            for direction in Direction:
                chart.plot(
                    means.index, means[f"nll_{direction}"], color=COLOURS[direction], linestyle=DASHES[direction],
                    linewidth=2, label={"forward": "given its left", "reverse": "given its right"}[direction.value],
                )  # fmt: skip
            chart.legend(frameon=False)
            chart.set_title(READERS[arm], loc="left", fontweight="bold", fontsize=10)
            chart.set_ylabel("loss, nats per token")
            ends = np.array([(effect.low or 0, effect.value, effect.high or 0) for effect in found.values()])
            strip.fill_between(list(found), ends[:, 0], ends[:, 2], color=NEUTRAL, alpha=0.25, linewidth=0)
            strip.plot(list(found), ends[:, 1], color=NEUTRAL, linewidth=2)
            strip.axhline(0, color=NEUTRAL, linewidth=0.8)
            strip.set_ylabel("left minus right")
            strip.set_xlabel("context length, tokens")
        figure.supxlabel(
            "The same tokens in both lines. Band: 95% interval over documents. Above 0: the right context tells more.",
            **NOTE,
        )
    return figure


def _means(part: pd.DataFrame) -> pd.Series:
    losses = [f"nll_{direction}" for direction in Direction]
    return pd.Series(np.average(part[losses], axis=0, weights=part["num_tokens"]), losses)
