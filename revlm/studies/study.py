"""What a study of one claim of the paper is: records in, tables, pictures and findings out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from revlm.markup import markdown
from revlm.studies.records import Records
from revlm.studies.verdicts import OURS, Verdict

NOTES = (
    "Cells: value [95% interval over documents] (n documents, s seeds: lowest to highest of them). What intervals and seeds "
    "speak of: docs/numbers.md, Studies."
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim and what came out.

    Attributes:
        claim: in the paper's sense, in our words.
        place: where it stands, "section ..." in the paper; "ours" for a question that it does not ask.
        verdict: by the rule that the study's README states.
        measured: one sentence with the numbers.
    """

    claim: str
    place: str = "ours"
    verdict: Verdict
    measured: str

    @property
    def of_the_paper(self) -> bool:
        """Whether the paper makes this claim; else we ask it."""
        return self.place.startswith("section")

    @property
    def outcome(self) -> str:
        """The verdict in words: a claim of the paper is reproduced or not, one of ours holds or does not."""
        return str(self.verdict) if self.of_the_paper else OURS[self.verdict]


@dataclass(frozen=True)
class Results:
    """Everything that a study shows, made from its records alone.

    Attributes:
        findings: claim by claim, the headline first.
        tables: file stem -> Markdown, with what its cells mean.
        figures: file stem -> picture and, for those who cannot see it, what it shows.
    """

    findings: Sequence[Finding]
    tables: Mapping[str, str]
    figures: Mapping[str, tuple[Figure, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A folder below experiments/.

    Attributes:
        name: of the folder.
        title: the question.
        render: records to results.
        needs: records without which there is nothing to show.
    """

    name: str
    title: str
    render: Callable[[Records], Results]
    needs: Sequence[str]


def table(about: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: str = NOTES) -> str:
    """A table under what it is about, with what its cells mean below it."""
    return "\n\n".join([about, markdown(header, rows), notes])
