"""Runs over seeds as arms: means with intervals, and differences between arms in pairs of equal seeds."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from revlm.direction import Direction
from revlm.pages.runs.run import Run, number
from revlm.records.folder import flatten
from revlm.statistics.effect import Effect, seed_mean

# Options that say where or how fast a run computes, not what.
MACHINE = ("seed", "ckpt_path", "run", "cache", "logger", "trainer", "data.num_workers", "data.path",
           "budget.micro_batch_size", "curves")  # fmt: skip
COMPUTED = ("trainer.precision", "trainer.compile")
# Two arms read the same held-out tokens with the same architecture when these agree.
SHARED = ("data", "tokenizer", "model", "init")
# Options that two arms differ in by design.
DESIGNED = ("name", "direction", "budget.tokens", "budget.per_direction", "budget.validations")

# Which loss of which module is set against which: both of mixed against its specialist, and the
# two specialists against each other.
PAIRS = (
    ("mixed", Direction.FORWARD, "forward", Direction.FORWARD),
    ("mixed", Direction.REVERSE, "reverse", Direction.REVERSE),
    ("reverse", Direction.REVERSE, "forward", Direction.FORWARD),
)


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed, one a seed, by rising seed."""

    runs: tuple[Run, ...]
    settings: dict[str, Any]
    # Options that tell this arm from others of the same labels, "key=value ...".
    variant: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """What the arm is called by in tables and figures."""
        settings = self.settings
        return {
            "experiment": str(settings["name"]),
            "module": str(settings["direction.module"]),
            "language": str(settings.get("data.language", "")),
            "corpus": str(settings["corpus"])[:8],
            "model": str(settings.get("model.name", "")),
            "init": str(settings.get("init.kind", "")),
            "tokens": str(self.tokens),
            "options": self.variant,
        }

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, in their order."""
        return tuple(int(run.config["seed"]) for run in self.runs)

    def estimate(self, measure: str) -> Effect:
        """A number of the summary over seeds."""
        return seed_mean(self.by_seed(measure))

    def by_seed(self, measure: str) -> dict[int, float]:
        """A number of each run's summary, by its seed."""
        return {seed: number(run.summary[measure]) for seed, run in zip(self.seeds, self.runs, strict=True)}

    @property
    def tokens(self) -> int:
        """Training tokens in all, which is what a run costs."""
        tokens, share = int(self.settings["budget.tokens"]), float(self.settings["direction.reverse_ratio"])
        return tokens * 2 if self.settings.get("budget.per_direction") and 0 < share < 1 else tokens

    def tokens_read(self, direction: Direction) -> float:
        """Training tokens read in a direction."""
        share = float(self.settings["direction.reverse_ratio"])
        return self.tokens * (share if direction is Direction.REVERSE else 1 - share)


@dataclass(frozen=True)
class Comparison:
    """Loss of `arm` in one direction minus loss of `against`, in pairs of runs with the same seed."""

    arm: Arm
    direction: Direction
    against: Arm
    against_direction: Direction
    # What both had equally: "total tokens" (compute) or "tokens per direction".
    matched: str
    by_seed: dict[int, float]
    # Options other than direction and budget in which the arms differ; empty in a fair comparison.
    differs: str

    @property
    def difference(self) -> Effect:
        """Mean difference, nats per token; negative: `arm` is better."""
        return seed_mean(self.by_seed)


def gather(runs: Iterable[Run]) -> list[Arm]:
    """Runs grouped by every option and the corpus, all but the seed and the machine.

    A seed counts once: of several runs with the same seed the one whose folder sorts last stays.

    Returns:
        Arms by label; arms of equal labels carry the options in which they differ.
    """
    groups: dict[str, dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: (run.folder.name, str(run.folder))):
        group = groups.setdefault(json.dumps(_settings(run), sort_keys=True, default=str), {})
        group[int(run.config["seed"])] = run
    arms = []
    for group in groups.values():
        kept = [run for _, run in sorted(group.items())]
        arms.append(Arm(tuple(kept), _settings(kept[0])))
    alike = [[other for other in arms if other.labels == arm.labels] for arm in arms]
    named = [replace(arm, variant=_variant(arm, same)) for arm, same in zip(arms, alike, strict=True)]
    return sorted(named, key=lambda arm: (arm.labels["experiment"], arm.tokens, *arm.labels.values()))


def compare(arms: Sequence[Arm]) -> list[Comparison]:
    """Every pair of arms that read the same held-out tokens, share seeds and have a budget in common.

    The budget is either the same number of training tokens in all, which costs the same, or the
    same number in the direction compared, which a mixed run pays for twice.
    """
    found = []
    for arm, against in itertools.permutations(arms, 2):
        for module, direction, other_module, other_direction in PAIRS:
            modules = (arm.labels["module"], against.labels["module"])
            matched = _matched(arm, direction, against, other_direction)
            if modules != (module, other_module) or not matched or _differing(arm, against, within=SHARED):
                continue
            losses, others = arm.by_seed(f"nll_{direction}"), against.by_seed(f"nll_{other_direction}")
            if by_seed := {seed: losses[seed] - others[seed] for seed in losses if seed in others}:
                differs = " ".join(key for key in _differing(arm, against) if not _under(key, DESIGNED))
                found.append(Comparison(arm, direction, against, other_direction, matched, by_seed, differs))
    return found


def _matched(arm: Arm, direction: Direction, against: Arm, other: Direction) -> str:
    if arm.tokens == against.tokens:
        return "total tokens"
    per_direction = math.isclose(arm.tokens_read(direction), against.tokens_read(other), rel_tol=1e-3)
    return "tokens per direction" if per_direction else ""


def _settings(run: Run) -> dict[str, Any]:
    """Options that make runs comparable, flat, with the corpus they read."""
    options = flatten(run.config).items()
    kept = {key: value for key, value in options if key in COMPUTED or not _under(key, MACHINE)}
    return {**kept, "corpus": run.summary.get("corpus_fingerprint", "")}


def _under(key: str, prefixes: Sequence[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _differing(one: Arm, other: Arm, within: Sequence[str] = ()) -> list[str]:
    known = sorted({*one.settings, *other.settings})
    chosen = [key for key in known if not within or key == "corpus" or _under(key, within)]
    return [key for key in chosen if one.settings.get(key) != other.settings.get(key)]


def _variant(arm: Arm, same: Sequence[Arm]) -> str:
    keys = sorted({key for other in same for key in _differing(arm, other)})
    return " ".join(f"{key}={arm.settings.get(key)}" for key in keys)
