"""What several commands share: caches, folders, and the rule by which curves cross."""

from __future__ import annotations

from dataclasses import dataclass


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

    dir: str = "${oc.env:REVLM_CACHE,${oc.env:HOME}/.cache/revlm}"


@dataclass
class FolderConfig:
    """The folder of a command that is not a training run."""

    dir: str
