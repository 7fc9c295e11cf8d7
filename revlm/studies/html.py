"""report.html: claims, verdicts, pictures and tables in one file that needs nothing beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from revlm.studies.pages import RECORDS, RESULTS, Page, claims
from revlm.studies.study import Finding
from revlm.studies.verdicts import Verdict

MARKS = {Verdict.REPRODUCED: "yes", Verdict.NOT: "no", Verdict.UNCLEAR: "unclear"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
table { border-collapse: collapse; font-size: 13px; margin: .8rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #ccc; padding: .3rem .5rem; text-align: left; vertical-align: top; }
th { background: #f3f3f3; } img { max-width: 100%; } p.note { color: #5a5a5a; font-size: 13px; }
.verdict { font-weight: 700; white-space: nowrap; } .yes { color: #00704d; } .no { color: #b1350f; } .unclear { color: #5a5a5a; }
details { margin: .6rem 0; } summary { cursor: pointer; }
"""


def report_html(pages: Sequence[Page], out: Path, *, runs: str = "", figures: Sequence[Path] = ()) -> str:
    """The whole report.

    Args:
        pages: studies, in order.
        out: the folder that the file will stand in; links to raw files are relative to it.
        runs: tables of the runs beside the studies, as Markdown.
        figures: their pictures.
    """
    body = [
        "<h1>What a language model learns by reading backwards: claims and measurements</h1>",
        *(_overview(pages) if pages else []),
        *(section for page in pages for section in _study(page, out)),
    ]
    if runs or figures:
        body += [
            "<h2>Runs</h2>",
            *(_image(path, path.stem.replace("_", " ")) for path in figures),
            _markdown(runs),
        ]
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>revlm report</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _overview(pages: Sequence[Page]) -> list[str]:
    rows = [
        f"<tr><td>{escape(finding.claim)}</td><td>{'the paper' if finding.of_the_paper else 'us'}</td>"
        f'<td class="verdict {MARKS[finding.verdict]}">{finding.outcome}</td>'
        f'<td>{escape(finding.measured)}</td><td><a href="#{page.study.name}">{page.study.name}</a></td></tr>'
        for finding, page in claims(pages)
    ]
    head = "<tr><th>claim</th><th>asked by</th><th>outcome</th><th>measured</th><th>study</th></tr>"
    return [f"<table>{head}{''.join(rows)}</table>"]


def _study(page: Page, out: Path) -> list[str]:
    records = page.folder / RESULTS / RECORDS
    links = ", ".join(
        f'<a href="{escape(os.path.relpath(path, out))}">{path.name}</a>'
        for path in sorted(records.iterdir())
        if path.is_file()
    )
    return [
        f'<h2 id="{page.study.name}">{escape(page.study.title)}</h2>',
        *(_finding(finding) for finding in page.results.findings),
        *(_image(path, page.results.figures[name][1]) for name, path in page.figures.items()),
        *(
            f"<details><summary>{name.replace('_', ' ')}</summary>{_markdown(table)}</details>"
            for name, table in page.results.tables.items()
        ),
        f'<p class="note">Raw records: {links}.</p>',
    ]


def _finding(finding: Finding) -> str:
    return (
        f"<p>{escape(finding.claim)} ({escape(finding.place)}): "
        f'<span class="verdict {MARKS[finding.verdict]}">{finding.outcome}</span>. {escape(finding.measured)}</p>'
    )


def _image(path: Path, about: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{escape(about)}" src="data:image/png;base64,{data}"></p>'


def _markdown(text: str) -> str:
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))
