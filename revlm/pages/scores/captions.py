"""What the pictures of a scoring run say in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from revlm.pages.drawing import FloatArray
from revlm.pages.files import Crossing
from revlm.pages.text import crossing_text
from revlm.scores.agreement import CROSS_SIZE, TEST_RETEST, Agreement
from revlm.scores.confounds import TITLES, Confound
from revlm.statistics.effect import Effect

SIDES = ("\u2190 forward is easier", "reverse is easier \u2192")
S_TITLE = "S = forward loss \u2212 reverse loss, nats per token"
NATS = ", nats per token"
WEAK = 0.1  # a correlation nearer to 0 than this is called weak


@dataclass(frozen=True)
class Spread:
    """S of one group: (n,) sorted values, and their median with its interval where n allows one."""

    name: str
    s: FloatArray
    median: Effect


def spread_of(name: str, s: FloatArray) -> Spread:
    """A group's median with its distribution-free interval, from the binomial order statistics."""
    from scipy import stats

    ordered = np.sort(s)
    n, median = len(ordered), float(np.median(ordered))
    below = int(stats.binom.ppf(0.025, n, 0.5))
    low, high = (float(ordered[below - 1]), float(ordered[n - below])) if below else (None, None)
    return Spread(name, ordered, Effect(median, low, high, n))


def spread_finding(groups: Sequence[Spread]) -> str:
    """In how many domains reverse is easier, and where most and least; the groups stand by falling median."""
    if len(groups) == 1:
        share = float((groups[0].s > 0).mean())
        return f"S of {groups[0].name}: median {groups[0].median.value:+.3f}; reverse is easier for {share:.0%} of documents"
    above = sum(group.median.value > 0 for group in groups)
    who = f"Reverse is easier for the median document of {above} of {len(groups)} domains"
    if above in {0, len(groups)}:
        who = f"{'Reverse' if above else 'Forward'} is easier for the median document of all {len(groups)} domains"
    top, bottom = groups[0], groups[-1]
    return f"{who}; S is highest in {top.name} ({top.median.value:+.3f}), lowest in {bottom.name} ({bottom.median.value:+.3f})"


def spread_reading(groups: Sequence[Spread], *, outside: int, hidden: int) -> str:
    """How to read the boxes, how sure the sides are, and what is not shown."""
    sides = [group.median.apart for group in groups]
    said = f"The median: {groups[0].median.text('+.4f')}."
    if len(groups) > 1:
        said = (
            f"The interval lies above 0 in {sides.count(1)} and below 0 in {sides.count(-1)} of {len(groups)} domains "
            "(not corrected for their number)."
        )
    box = "Black: median and its 95% interval over documents. Box: middle half; line: 5% to 95%; dots: single documents."
    parts = [box, said]
    if outside:
        parts.append(f"{outside:,} documents lie outside of the picture.")
    if hidden:
        parts.append(f"{hidden} smaller domains are not shown.")
    return " ".join(parts)


def confounds_finding(rows: Sequence[Confound]) -> str:
    """Which confound S goes along with most, whether that survives the others, and what domains explain.

    The forward loss is part of S and is no finding.
    """
    numbers = [row for row in rows if not row.category and row.name != "nll_forward"]
    known = [row for row in numbers if not math.isnan(row.plain.value)]
    if not known:
        return "Too few documents to say what S goes along with"
    sure = [row for row in known if _excludes_zero(row.plain)]
    most = max(sure or known, key=lambda row: abs(row.plain.value))
    r = f"{TITLES[most.name].removesuffix(NATS)} (r = {most.plain.value:+.2f}"
    r += ")" if math.isnan(most.partial.value) else f", {most.partial.value:+.2f} given the others)"
    said = f"S goes along most with {r}"
    if not sure:
        said = f"S goes along with none of these numbers for sure, most with {r}"
    elif abs(most.plain.value) < WEAK:
        said = f"S goes along with these numbers weakly at most: {r}"
    for row in rows:
        if row.name == "domain" and row.plain.low:
            said += f"; domains explain {row.plain.value:.0%} of the variance of its ranks"
    return said


def _excludes_zero(found: Effect) -> bool:
    # Exactly one has no interval.
    return abs(found.value) > WEAK if found.low is None else found.apart != 0


def crossings_finding(crossings: Mapping[str, Crossing], window: int | None) -> str:
    """In how many domains the curves cross, and where first."""
    known = {name: found["position"] for name, found in crossings.items() if "position" in found}
    crossed = {name: position for name, position in known.items() if position is not None}
    within = f" within {window} tokens" if window else ""
    if len(known) == 1:
        (name,) = known
        cross = f"cross after {crossed[name]} tokens" if crossed else f"never cross{within}"
        return f"{name}: the curves {cross}"
    if not crossed:
        return f"The curves cross in none of {len(known)} domains{within}"
    first = min(crossed, key=lambda name: (crossed[name], name))
    where = f": {first} ({crossed[first]})"
    if len(crossed) > 1:
        early = sum(position == 0 for position in crossed.values())
        where = f", from the start in {early}" if early else f", first in {first} ({crossed[first]})"
    return f"The curves cross in {len(crossed)} of {len(known)} domains{within}{where}"


def crossing_words(found: Crossing) -> str:
    """A panel's second line: where its curves cross, with the interval, and how often never."""
    if "position" not in found:
        return "crossing not measured"
    text = crossing_text(found)
    share = f", never in {found['share_never']:.0%}" if found.get("share_never") and text != "never" else ""
    where = {None: "never cross", 0: "reverse below from"}.get(found["position"], "cross at")
    return f"{where} {text.removeprefix('never')}{share}".replace("  ", " ").strip()


def crossings_reading(rule: Mapping[str, Any], *, panels: int, hidden: int) -> str:
    """How to read the small panels."""
    parts = ["Across: tokens already read in that direction (log scale)."]
    parts += ["Blue: forward, dashed vermilion: reverse; n: documents. Thin: each position."]
    if "smoothing" in rule:
        parts.append(
            f"Strong: mean over {rule['smoothing']} positions. Dotted: from there on reverse stays at or below forward for "
            f"{rule['hold']} positions. Grey and [brackets]: 95% interval over {rule.get('resamples', 0)} resamples of "
            "the documents; never in so many per cent: the share of them without a crossing."
        )
    if panels > 1:
        parts.append("Each panel has a scale of its own.")
    if hidden:
        parts.append(f"{hidden} smaller domains are not shown.")
    return " ".join(parts)


def agreement_finding(rows: Sequence[Agreement], column: str) -> str:
    """How far models agree, by kind of pair."""
    said = []
    for kind, who in ((TEST_RETEST, "models of one size"), (CROSS_SIZE, "models of different sizes")):
        wanted = ("mean", kind, column, "spearman")
        for row in rows:
            if (row.model_a, row.kind, row.column, row.statistic) == wanted:
                count = f"{row.pairs} pair{'s' if row.pairs > 1 else ''}"
                said.append(f"{who} r = {row.found.value:.2f} ({count})")
    return "Agreement on S between documents: " + ("; ".join(said) or "one model, no pairs")
