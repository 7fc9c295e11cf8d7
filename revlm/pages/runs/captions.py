"""What the pictures say in words: the finding above a panel, how sure it is, how to read the lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from revlm import keys
from revlm.pages.drawing import short_count
from revlm.pages.runs.run import number
from revlm.pages.runs.sweeps import Arm
from revlm.pages.text import or_never
from revlm.statistics.effect import Effect, seed_mean

LEVEL_GAP = 5e-5  # nats; a smaller gap is called none
COARSE = 5e-3  # nats; a smaller gap is told with another digit


def loss_finding(arm: Arm) -> str:
    """Which direction ends lower, by how much."""
    gap = _at_the_end(arm, keys.VAL_GAP).value
    if not math.isfinite(gap):
        return "The loss is not a finite number"
    if abs(gap) < LEVEL_GAP:
        return "Reverse and forward end level"
    side = "above" if gap > 0 else "below"
    relative = abs(gap) / _at_the_end(arm, keys.VAL_NLL_FORWARD).value
    size = f"{abs(gap):.3f}" if abs(gap) >= COARSE else f"{abs(gap):.4f}"
    return f"Reverse ends {size} nats {side} forward ({relative:.1%})"


def loss_reading(arm: Arm) -> str:
    """What was trained, and how sure the gap is."""
    gap = _at_the_end(arm, keys.VAL_GAP)
    trained = {"forward": "Trained forward only", "reverse": "Trained in reverse only"}
    how = trained.get(arm.labels["module"], "Trained in both directions")
    if gap.low is None or gap.high is None:
        return f"{how}. Seed {arm.seeds[0]}: one seed, no interval."
    return f"{how}. 95% t-interval of the gap over {gap.n} seeds: {gap.low:+.4f} to {gap.high:+.4f} nats."


def loss_legend(arms: Sequence[Arm]) -> str:
    """How to read the lines and the bands."""
    reading = "Thin grey line: training loss, in the directions that the model is trained on."
    if any(len(arm.runs) > 1 for arm in arms):
        reading += " Lines are means over seeds, bands reach from the lowest to the highest seed."
    return reading


def panel_name(arm: Arm, arms: Sequence[Arm]) -> str:
    """What tells this arm from the other panels, on a line of its own."""
    if len(arms) == 1:
        return ""
    labels = arm.labels | {"tokens": f"{short_count(arm.tokens)} tokens"}
    told = ("language", "model", "init", "tokens")
    varying = [labels[key] for key in told if len({other.labels[key] for other in arms}) > 1]
    return " ".join([labels["experiment"], *varying, arm.variant]).strip() + "\n"


def crossing_finding(arm: Arm, windows: str) -> str:
    """Where the curves cross, or that they never do."""
    crossings = crossings_of(arm, windows)
    if any("position" not in crossing for crossing in crossings):
        return "Where the curves cross was not measured"
    found = sorted(crossing["position"] for crossing in crossings if crossing["position"] is not None)
    seeds = f" in {len(found)} of {len(crossings)} seeds" if len(crossings) > 1 else ""
    if not found:
        every = f" ({len(crossings)} seeds)" if seeds else ""
        return f"The curves never cross within {arm.settings['data.window']} tokens{every}"
    if found[-1] == 0:
        # The rule asks for so many positions and no more: reverse may well rise above later.
        return f"Reverse starts at or below forward{seeds}, for at least {crossings[0]['hold']} tokens"
    where = str(found[0]) if found[0] == found[-1] else f"{found[0]} to {found[-1]}"
    return f"The curves first cross{seeds} after {where} {'token' if where == '1' else 'tokens'}"


def curves_reading(arm: Arm, windows: str) -> str:
    """How sure the crossing is: over documents for one seed, seed by seed for several."""
    crossing = crossings_of(arm, windows)[0]
    if len(arm.runs) > 1:
        each = (or_never(found.get("position")) for found in crossings_of(arm, windows))
        return "By seed: " + ", ".join(f"{seed}: {at}" for seed, at in zip(arm.seeds, each, strict=True))
    if not crossing.get("resamples"):
        return f"Seed {arm.seeds[0]}: one seed, no interval."
    low, high = (or_never(crossing[bound]) for bound in ("low", "high"))
    interval = f"95% interval {low} to {high}"
    share = f"{interval},"
    if crossing["share_never"]:
        never = "Never" if low == high == "never" else f"{interval}; never"
        share = f"{never} in {crossing['share_never']:.0%} of"
    resamples = f"{crossing['resamples']} resamples of {crossing['num_documents']} documents"
    return f"{share} {resamples}. One seed, no interval over seeds."


def curves_legend(arms: Sequence[Arm]) -> str:
    """How to read the lines, the bands and the marks."""
    rule = crossings_of(arms[0], "all")[0]
    parts = ["Thin: each position."]
    if "smoothing" in rule:
        parts.append(
            f"Strong: mean over {rule['smoothing']} positions, where complete. The curves cross where the "
            f"strong line of reverse comes to stay at or below that of forward for {rule['hold']} positions."
        )
    if any(len(arm.runs) > 1 for arm in arms):
        parts.append("Several seeds: mean lines, bands from the lowest to the highest, a dotted line each.")
    if any(len(arm.runs) == 1 and arm.runs[0].intervals for arm in arms):
        parts.append(
            "One seed: bands are 95% intervals over documents (all windows), grey that of the crossing."
        )
    return " ".join(parts)


def crossings_of(arm: Arm, windows: str) -> list[dict[str, Any]]:
    """The crossing of each run, by seed; empty where none was measured."""
    return [run.intersection.get(windows, {}) for run in arm.runs]


def _at_the_end(arm: Arm, key: str) -> Effect:
    """A number of the last validation, over seeds."""
    last = [number(run.validations[-1][key]) for run in arm.runs]
    return seed_mean(dict(zip(arm.seeds, last, strict=True)))
