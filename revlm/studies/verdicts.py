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


def decided(*, holds: bool, fails: bool) -> Verdict:
    """Of a claim that measurement may bear out, contradict, or leave open."""
    return Verdict.REPRODUCED if holds else Verdict.NOT if fails else Verdict.UNCLEAR


def within(found: Effect, margin: float) -> Verdict:
    """Whether an effect is none, give or take a margin.

    Reproduced: the interval and every one of three seeds or more lie inside. Not: both lie outside,
    on one side. Else unclear.
    """
    low, high, seeds = found.low, found.high, found.seeds.values()
    if low is None or high is None or len(seeds) < FEWEST_SEEDS:
        return Verdict.UNCLEAR
    inside = all(abs(value) < margin for value in (low, high, *seeds))
    return decided(holds=inside, fails=min(low, *seeds) > margin or max(high, *seeds) < -margin)


def costs_little(found: Effect, margin: float) -> Verdict:
    """Whether less than a margin is lost, above 0 being a loss; gaining is no cost.

    Interval and every one of three seeds or more must say so.
    """
    low, high, seeds = found.low, found.high, found.seeds.values()
    if low is None or high is None or len(seeds) < FEWEST_SEEDS:
        return Verdict.UNCLEAR
    return decided(holds=max(high, *seeds) < margin, fails=min(low, *seeds) > margin)


def judged(side: int) -> Verdict:
    """Of a claim that an effect lies above its null: 1 it does, -1 below, 0 not told."""
    return decided(holds=side > 0, fails=side < 0)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several: reproduced only if all are, not reproduced if any is not."""
    return decided(holds=set(verdicts) <= {Verdict.REPRODUCED}, fails=Verdict.NOT in verdicts)
