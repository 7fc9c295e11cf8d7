"""Results into files: tables, pictures, findings, and the blocks of READMEs that are filled by command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from revlm.cache import write_atomically
from revlm.errors import UserError
from revlm.markup import markdown
from revlm.pages.drawing import save
from revlm.studies.catalogue import STUDIES
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study

RESULTS, RECORDS, TABLES, FIGURES, FINDINGS = "results", "records", "tables", "figures", "findings.json"
# The pictures of the project's front page.
SHOWN = {("02_from_scratch", "loss_curves"), ("05_quality", "ladder")}


@dataclass(frozen=True)
class Page:
    """A study's results as they stand in its folder.

    Attributes:
        study: whose.
        folder: below experiments/.
        results: what was made from its records.
        figures: file stem -> PNG.
    """

    study: Study
    folder: Path
    results: Results
    figures: Mapping[str, Path]


def write_pages(experiments: Path) -> list[Page]:
    """Make every study's tables, pictures, findings and README blocks again from its records.

    Args:
        experiments: folder with one folder a study; those without records are left alone.

    Raises:
        UserError: no study with records there, or a README without a block that it needs.
    """
    found = [
        write_page(study, experiments / name)
        for name, study in STUDIES.items()
        if all(record in Records(experiments / name / RESULTS / RECORDS) for record in study.needs)
    ]
    if not found:
        raise UserError(
            f"experiments={experiments}: no study with records there: run make reproduce, or give the folder "
            f"that holds {next(iter(STUDIES))}."
        )
    overview = experiments.parent / "README.md"
    if overview.is_file() and _block("results").search(overview.read_text(encoding="utf-8")):
        fill(overview, {"results": overview_markdown(found, overview.parent)})
    return found


def write_page(study: Study, folder: Path) -> Page:
    """One study's files, each whole or not at all."""
    results = study.render(Records(folder / RESULTS / RECORDS))
    out = folder / RESULTS
    for name, table in results.tables.items():
        write_atomically(out / TABLES / f"{name}.md", table + "\n")
    shown = results.figures.items()
    figures = {name: save(figure, out / FIGURES / f"{name}.png") for name, (figure, _) in shown}
    findings = json.dumps([asdict(finding) for finding in results.findings], indent=2)
    write_atomically(out / FINDINGS, findings + "\n")
    if (folder / "README.md").is_file():
        pictures = "\n\n".join(f"![{about}]({RESULTS}/{FIGURES}/{name}.png)" for name, (_, about) in shown)
        blocks = {"findings": findings_markdown(results.findings), "figures": pictures}
        fill(folder / "README.md", blocks | dict(results.tables))
    return Page(study, folder, results, figures)


def findings_markdown(findings: Sequence[Finding]) -> str:
    """Claims with verdicts and numbers."""
    return markdown(
        ["claim", "where", "verdict", "measured"],
        [[finding.claim, finding.place, f"**{finding.outcome}**", finding.measured] for finding in findings],
    )


def claims(pages: Sequence[Page]) -> list[tuple[Finding, Page]]:
    """Every finding with its page: the paper's claims first, what we ask after."""
    found = [(finding, page) for page in pages for finding in page.results.findings]
    return sorted(found, key=lambda one: not one[0].of_the_paper)


def overview_markdown(pages: Sequence[Page], root: Path) -> str:
    """The paper's claims in one table, the two pictures that tell most of the story, and what else we asked."""
    rows: dict[bool, list[list[str]]] = {True: [], False: []}
    for finding, page in claims(pages):
        link = f"[{page.folder.name[:2]}]({page.folder.relative_to(root)})"
        rows[finding.of_the_paper].append([finding.claim, f"**{finding.outcome}**", finding.measured, link])
    theirs = markdown(["claim of the paper", "outcome", "measured", "study"], rows[True])
    ours = markdown(["asked by us", "outcome", "measured", "study"], rows[False])
    shown = [
        f"![{about}]({page.folder.relative_to(root)}/{RESULTS}/{FIGURES}/{name}.png)"
        for page in pages
        for name, (_, about) in page.results.figures.items()
        if (page.folder.name, name) in SHOWN
    ]
    return "\n\n".join([theirs, *shown, ours])


def fill(path: Path, blocks: Mapping[str, str]) -> None:
    """Put texts between `<!-- NAME -->` and `<!-- end of NAME -->` in a Markdown file.

    Raises:
        UserError: a block is not there.
    """
    text = path.read_text(encoding="utf-8")
    for name, content in blocks.items():
        found = _block(name).search(text)
        if not found:
            raise UserError(
                f"{path}: no block for {name}: put <!-- {name} --> and <!-- end of {name} --> where it belongs."
            )
        text = f"{text[: found.end(1)]}\n{content}\n{text[found.start(2) :]}"
    write_atomically(path, text)


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {re.escape(name)} -->)\n.*?(<!-- end of {re.escape(name)} -->)", re.DOTALL)
