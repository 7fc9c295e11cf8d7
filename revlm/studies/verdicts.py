"""What measurement says of a claim, and the rules by which effects decide it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from revlm.statistics.effect import FEWEST_SEEDS, Effect


class Verdict(StrEnum):
    """What measurement says of a claim."""

    REPRODUCED = "reproduced"
    NOT = "not reproduced"
    UNCLEAR = "unclear"


OURS = {Verdict.REPRODUCED: "holds", Verdict.NOT: "does not hold", Verdict.UNCLEAR: "unclear"}


def within(found: Effect, margin: float) -> Verdict:
    """Whether an effect is none, give or take a margin.

    Reproduced: the interval and every one of three seeds or more lie inside. Not: both lie outside,
    on one side. Else unclear.
    """
    low, high, seeds = found.low, found.high, found.seeds.values()
    if low is None or high is None or len(seeds) < FEWEST_SEEDS:
        return Verdict.UNCLEAR
    if -margin < low and high < margin and all(abs(value) < margin for value in seeds):
        return Verdict.REPRODUCED
    above, below = min(low, *seeds) > margin, max(high, *seeds) < -margin
    return Verdict.NOT if above or below else Verdict.UNCLEAR


def costs_little(found: Effect, margin: float) -> Verdict:
    """Whether less than a margin is lost, above 0 being a loss; gaining is no cost.

    Interval and every one of three seeds or more must say so.
    """
    low, high, seeds = found.low, found.high, found.seeds.values()
    if low is None or high is None or len(seeds) < FEWEST_SEEDS:
        return Verdict.UNCLEAR
    if max(high, *seeds) < margin:
        return Verdict.REPRODUCED
    return Verdict.NOT if min(low, *seeds) > margin else Verdict.UNCLEAR


def judged(side: int) -> Verdict:
    """Of a claim that an effect lies above its null: 1 it does, -1 below, 0 not told."""
    return {1: Verdict.REPRODUCED, -1: Verdict.NOT}.get(side, Verdict.UNCLEAR)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several: reproduced only if all are, not reproduced if any is not."""
    if any(verdict is Verdict.NOT for verdict in verdicts):
        return Verdict.NOT
    return Verdict.UNCLEAR if any(verdict is Verdict.UNCLEAR for verdict in verdicts) else Verdict.REPRODUCED
