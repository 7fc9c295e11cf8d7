"""Options of `python -m revlm.report` and `python -m revlm.collect`."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from revlm.config.shared import FolderConfig


@dataclass
class ReportConfig:
    """Options of `python -m revlm.report`."""

    # A folder of runs or a glob of run folders, both searched at any depth; null: none.
    runs: str | None = "runs"
    # The folder of the studies, whose tables, pictures and READMEs are made again from their records.
    experiments: str | None = None
    run: FolderConfig = field(default_factory=lambda: FolderConfig(dir="report"))


@dataclass
class CollectConfig:
    """Options of `python -m revlm.collect`."""

    # The folder of a study's runs, searched at any depth.
    runs: str = MISSING
    # The folder of its records.
    out: str = MISSING
