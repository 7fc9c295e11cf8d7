"""What was read of a corpus's sources and what was passed over, so that nothing goes missing without a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from revlm.config import CorpusConfig, Unreadable
from revlm.data.document import Document, document_from_row
from revlm.errors import UnreadableRowError, UserError

# Where data.id is null and a row has one of these, that is its id.
ID_COLUMNS = ("doc_id", "id")
# Names told of files that were passed over; the rest is counted.
SHOWN = 5


@dataclass
class Reading:
    """Counts of one pass over the sources.

    Attributes:
        files: read, with their bytes on disk.
        bytes: of those files.
        rows: of tables, the ones left out included; a text file is one row.
        ids: columns that ids were taken from without being asked for.
        passed_over: reason -> names of files that a folder or a glob holds and nobody read.
        rows_left_out: reason -> how many rows, with `data.unreadable=skip`.
        first_left_out: reason -> what is wrong with the first such row, and where.
        unreadable: a line for each damaged file, with `data.unreadable=skip`.
    """

    files: int = 0
    bytes: int = 0
    rows: int = 0
    ids: list[str] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    rows_left_out: dict[str, int] = field(default_factory=dict)
    first_left_out: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def leave_out(self, error: UnreadableRowError, config: CorpusConfig) -> None:
        """Count a row that holds no usable document.

        Raises:
            UserError: it is to be refused.
        """
        if config.unreadable is Unreadable.refuse:
            raise UserError(
                f"{str(error).rstrip('.')}; or leave such rows out with data.unreadable=skip."
            ) from error
        self.rows_left_out[error.reason] = self.rows_left_out.get(error.reason, 0) + 1
        self.first_left_out.setdefault(error.reason, str(error))

    def facts(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "rows": self.rows,
            "ids_from": self.ids,
            "passed_over": {
                why: {"files": len(names), "first": names[:SHOWN]} for why, names in self.passed_over.items()
            },
            "rows_left_out": self.rows_left_out,
            "first_left_out": self.first_left_out,
        }


def told(facts: Mapping[str, Any]) -> list[str]:
    """Lines for the end of a command: where ids come from, and what was passed over; none where that is nothing.

    Args:
        facts: of `Reading.facts`.
    """
    lines = []
    if ids := facts.get("ids_from"):
        lines.append(f"ids come from the column {' and '.join(ids)} (data.id='' numbers the rows instead).")
    for why, passed in facts.get("passed_over", {}).items():
        more = passed["files"] - len(passed["first"])
        names = ", ".join(passed["first"]) + (f" and {more:,} more" if more else "")
        lines.append(
            f"passed over {passed['files']:,} file{'s' if passed['files'] > 1 else ''}, {why}: {names}."
        )
    for why, count in facts.get("rows_left_out", {}).items():
        first = facts["first_left_out"][why]
        lines.append(f"left out {count:,} row{'s' if count > 1 else ''}, {why}; the first: {first}")
    return lines


def usable_document(
    row: Mapping[str, Any] | UnreadableRowError,
    config: CorpusConfig,
    reading: Reading,
    *,
    where: str,
    doc_id: str,
    domain: str,
) -> tuple[str, Document] | None:
    """The document of a row with the column that its id comes from ("" for none); None if it is left out.

    Args:
        row: by column; or what is wrong with it.
        config: names of the columns.
        reading: counts rows that are left out, and remembers where ids come from.
        where: place named in errors.
        doc_id: of a row without an id.
        domain: of a row without a domain.

    Raises:
        UserError: the row holds no usable document, and `data.unreadable=refuse`.
    """
    try:
        if isinstance(row, UnreadableRowError):
            raise row
        column = _id_column(row) if config.id is None else config.id
        document = document_from_row(row, config, where=where, doc_id=doc_id, domain=domain, id_column=column)
    except UnreadableRowError as error:
        reading.leave_out(error, config)
        return None
    if column and config.id is None and column not in reading.ids:
        reading.ids.append(column)
    return column, document


def _id_column(row: Mapping[str, Any]) -> str:
    """The column that says a row's id, where nobody named one; none where it says nothing of use."""
    for column in ID_COLUMNS:
        value = row.get(column)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return column
    return ""
