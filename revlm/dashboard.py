"""The W&B dashboard of a project as a file, or saved: `python -m revlm.dashboard project=revlm save=true`."""

from __future__ import annotations

from pathlib import Path

from revlm import cli
from revlm.config import DashboardConfig


def dashboard(config: DashboardConfig) -> None:
    """Build the workspace, save it where that is asked for, and write its JSON, the file last."""
    from revlm.cache import write_atomically
    from revlm.records.dashboard import adopt, as_json, build, save
    from revlm.records.wandb_run import default_entity

    out = Path(config.out)
    workspace = build(config.entity or "", config.project)
    adopt(workspace, out)
    if config.save:
        workspace.entity = workspace.entity or default_entity()
        print(save(workspace))
    write_atomically(out, as_json(workspace))
    print(out)


if __name__ == "__main__":
    cli.run(dashboard)
