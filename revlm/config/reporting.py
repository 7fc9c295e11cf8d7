"""Options of `python -m revlm.report`."""

from __future__ import annotations

from dataclasses import dataclass, field

from revlm.config.shared import FolderConfig


@dataclass
class ReportConfig:
    """Options of `python -m revlm.report`."""

    # A folder of runs or a glob of run folders, both searched at any depth.
    runs: str = "runs"
    run: FolderConfig = field(default_factory=lambda: FolderConfig(dir="report"))
