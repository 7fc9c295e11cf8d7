"""Gather finished runs into tables and figures: `python -m revlm.report runs=runs`."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from revlm import cli
from revlm.config import ReportConfig
from revlm.errors import UserError

if TYPE_CHECKING:
    from revlm.records.runs import Run


def report(config: ReportConfig) -> None:
    """Tables and figures of all finished runs, the table on the terminal, the folder last."""
    from revlm.records import figures

    runs, skipped = read_runs(config.runs)
    folder = Path(config.run.dir)
    print(write_tables(runs, skipped, folder / "tables"))
    figures.draw(runs, folder / "figures")
    print(folder)


def read_runs(pattern: str) -> tuple[list[Run], list[str]]:
    """Finished runs, and for each one left out a line that says why.

    Args:
        pattern: a folder or a glob; what it names is searched at any depth.

    Raises:
        UserError: there is no finished run.
    """
    from revlm.records.runs import read_run

    runs, skipped = [], []
    for folder in find_runs(pattern):
        try:
            runs.append(read_run(folder))
        except UserError as error:
            skipped.append(str(error))
    if not runs:
        reason = f" Left out: {skipped[0]}" if skipped else ""
        raise UserError(
            f"runs={pattern}: no finished run there: train one with python -m revlm.train, "
            f"or give a folder or a glob of runs.{reason}"
        )
    return runs, skipped


def find_runs(pattern: str) -> Iterator[Path]:
    """Run folders, finished or not, by name: those that hold config.yaml or a file of results."""
    from revlm.records.runs import CONFIG, METRICS, SUMMARY

    seen: set[str] = set()
    # Path.glob takes no absolute pattern; a folder's own name may hold brackets.
    roots = [pattern] if Path(pattern).is_dir() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    for root in roots:
        for folder, subfolders, files in os.walk(root):
            subfolders.sort()
            if not {CONFIG, METRICS, SUMMARY}.isdisjoint(files):
                # What lies deeper belongs to this run.
                subfolders.clear()
                if os.path.realpath(folder) not in seen:
                    seen.add(os.path.realpath(folder))
                    yield Path(folder)


def write_tables(runs: list[Run], skipped: list[str], folder: Path) -> str:
    """Write runs.csv, sweep.csv and sweep.md, and return the last."""
    from revlm.cache import write_atomically
    from revlm.records import sweeps, tables

    arms = sweeps.gather(runs)
    comparisons = sweeps.compare(arms)
    counted = {run.folder for arm in arms for run in arm.runs}
    left_out = skipped + [
        f"{run.folder}: a repeat, with the options and the seed of another run: one of them counts."
        for run in runs
        if run.folder not in counted
    ]
    page = tables.sweep_markdown(arms, comparisons)
    if left_out:
        page += "\n".join(["", f"## Left out: {len(left_out)}", "", *(f"- {line}" for line in left_out), ""])
    write_atomically(folder / "runs.csv", tables.runs_csv(runs))
    write_atomically(folder / "sweep.csv", tables.sweep_csv(arms, comparisons))
    write_atomically(folder / "sweep.md", page)
    return page


if __name__ == "__main__":
    cli.run(report, schema=ReportConfig, config_name="report")
