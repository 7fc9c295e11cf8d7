"""Gather finished runs into tables and figures: `python -m revlm.report runs=runs`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from revlm import cli
from revlm.config import ReportConfig
from revlm.errors import UserError
from revlm.paths import matching_folders

if TYPE_CHECKING:
    from revlm.pages.runs.run import Run

Found = TypeVar("Found")


def report(config: ReportConfig) -> None:
    """Tables and figures of all finished runs, the tables on the terminal, the folder last."""
    from revlm.cache import write_atomically
    from revlm.pages.evaluations import evaluation_tables, find_evaluations, read_evaluation
    from revlm.pages.files import KINDS
    from revlm.pages.runs import figures
    from revlm.pages.runs.run import read_run
    from revlm.pages.scores import tables as score_tables
    from revlm.pages.scores.run import read_score_runs, read_selection
    from revlm.pages.text import left_out_section
    from revlm.studies.html import report_html
    from revlm.studies.pages import findings_markdown, write_pages

    folder = Path(config.run.dir)
    studies = write_pages(Path(config.experiments)) if config.experiments else []
    folders = find_runs(config.runs) if config.runs else {kind: [] for kind, _ in KINDS}
    runs, skipped = read_all(folders["training"], read_run)
    scores, unscored = read_all(folders["scores"], read_score_runs)
    selections, unselected = read_all(folders["selection"], read_selection)
    # One command may hold several arms, a folder each.
    arms = [arm for folder in folders["evaluation"] for arm in find_evaluations(folder)]
    evaluations, unevaluated = read_all(arms, read_evaluation)
    if not (runs or scores or selections or evaluations or studies):
        left_out = [*skipped, *unscored, *unselected, *unevaluated]
        reason = f" Left out: {left_out[0]}" if left_out else ""
        raise UserError(
            f"runs={config.runs}: no finished run there: train one with python -m revlm.train, "
            f"or give a folder or a glob of runs.{reason}"
        )
    pages, pictures = [], list[Path]()
    if runs:
        pages.append(write_tables(list(runs.values()), skipped, folder / "tables"))
        pictures = figures.draw(list(runs.values()), folder / "figures")
        skipped = []
    if scores:
        every = [run for together in scores.values() for run in together]
        pages.append(score_tables.write_scores(every, unscored, folder / "tables"))
        unscored = []
    if selections:
        pages.append(score_tables.write_selections(selections, unselected, folder / "tables"))
        unselected = []
    if evaluations:
        pages.append(evaluation_tables(evaluations))
        write_atomically(folder / "tables" / "evaluations.md", pages[-1])
    # What no page has told yet.
    pages += left_out_section([*skipped, *unscored, *unselected, *unevaluated])
    whole = report_html(studies, folder, runs="\n\n".join(pages), figures=pictures)
    write_atomically(folder / "report.html", whole)
    claims = [findings_markdown(page.results.findings) for page in studies]
    print("\n\n".join([*claims, *pages]))
    print(folder)


def read_all(folders: Iterable[Path], read: Callable[[Path], Found]) -> tuple[dict[Path, Found], list[str]]:
    """What can be read, by folder, and for each one left out a line that says why."""
    found, skipped = dict[Path, Found](), []
    for folder in folders:
        try:
            found[folder] = read(folder)
        except UserError as error:
            skipped.append(str(error))
    return found, skipped


def find_runs(pattern: str) -> dict[str, list[Path]]:
    """Folders of runs, finished or not, by kind and name, the kinds of `KINDS`.

    Args:
        pattern: a folder or a glob; what it names is searched at any depth.
    """
    from revlm.pages.files import KINDS, kind_of

    found: dict[str, list[Path]] = {kind: [] for kind, _ in KINDS}
    seen: set[str] = set()
    for root in matching_folders(pattern):
        for folder, subfolders, files in os.walk(root):
            subfolders.sort()
            kind = kind_of([*files, *subfolders])
            if kind:
                # What lies deeper belongs to this run.
                subfolders.clear()
                if os.path.realpath(folder) not in seen:
                    seen.add(os.path.realpath(folder))
                    found[kind].append(Path(folder))
    return found


def write_tables(runs: list[Run], skipped: list[str], folder: Path) -> str:
    """Write runs.csv, sweep.csv and sweep.md, and return the last."""
    from revlm.cache import write_atomically
    from revlm.pages.runs import sweeps, tables
    from revlm.pages.text import left_out_section

    arms = sweeps.gather(runs)
    comparisons = sweeps.compare(arms)
    counted = {run.folder for arm in arms for run in arm.runs}
    left_out = skipped + [
        f"{run.folder}: a repeat, with the options and the seed of another run: one of them counts."
        for run in runs
        if run.folder not in counted
    ]
    page = tables.sweep_markdown(arms, comparisons)
    page = "\n\n".join([page.rstrip("\n"), *left_out_section(left_out)]) + "\n"
    write_atomically(folder / "runs.csv", tables.runs_csv(runs))
    write_atomically(folder / "sweep.csv", tables.sweep_csv(arms, comparisons))
    write_atomically(folder / "sweep.md", page)
    return page


if __name__ == "__main__":
    cli.run(report)
