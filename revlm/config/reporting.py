"""Options of `python -m revlm.report`, `revlm.collect` and `revlm.dashboard`."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from revlm.config.marks import PATH
from revlm.config.shared import FolderConfig


@dataclass
class ReportConfig:
    """Options of `python -m revlm.report`."""

    # A folder of runs or a glob of run folders, both searched at any depth; null: none.
    runs: str | None = field(default="runs", metadata=PATH)
    # The folder of the studies, whose tables, pictures and READMEs are made again from their records.
    experiments: str | None = field(default=None, metadata=PATH)
    run: FolderConfig = field(default_factory=lambda: FolderConfig(dir="report"))


@dataclass
class CollectConfig:
    """Options of `python -m revlm.collect`."""

    # The folder of a study's runs, searched at any depth.
    runs: str = field(default=MISSING, metadata=PATH)
    # The folder of its records.
    out: str = field(default=MISSING, metadata=PATH)
    # Which records, of those that revlm.studies.records names; null: all that there is something for.
    keep: list[str] | None = None


@dataclass
class DashboardConfig:
    """Options of `python -m revlm.dashboard`."""

    # User or team; null: the account's own when it is saved.
    entity: str | None = None
    # What the runs were logged to with logger.project=.
    project: str = "revlm"
    out: str = field(default="dashboard.json", metadata=PATH)
    # Save it to the account as well; that alone needs network and login.
    save: bool = False
