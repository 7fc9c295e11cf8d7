"""What several commands share: caches, folders, and the rule by which curves cross."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from revlm.config.marks import PATH


@dataclass
class CurvesConfig:
    """The rule by which two curves cross."""

    # Positions in the centred moving average; odd.
    smoothing: int = 9
    # Positions for which reverse must stay at or below forward.
    hold: int = 8
    # Bootstrap resamples of documents behind each interval.
    resamples: int = 1000
    seed: int = 0


@dataclass
class CacheConfig:
    """Prepared corpora, token ids and converted weights, shared by all runs."""

    dir: str = field(default="${oc.env:REVLM_CACHE,${oc.env:HOME}/.cache/revlm}", metadata=PATH)


@dataclass
class FolderConfig:
    """The folder of a command that is not a training run."""

    dir: str = field(default=MISSING, metadata=PATH)


@dataclass
class RunConfig:
    """The folder of one run among others."""

    root: str = field(default="runs", metadata=PATH)
    id: str = MISSING
    dir: str = field(default=MISSING, metadata=PATH)


def run_folder(command: str, decisive: str, before: str = "") -> RunConfig:
    """A folder whose name follows from the options: the same command finds it again.

    Args:
        command: whose runs lie together.
        decisive: the options that decide what the folder will hold.
        before: more of the folder's name.
    """
    key = ",".join(f"${{{name}}}" for name in decisive.split())
    return RunConfig(id=f"${{run_key:{key}}}", dir=f"${{run.root}}/{command}/{before}${{run.id}}")
