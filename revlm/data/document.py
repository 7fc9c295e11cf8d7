"""The record that flows through the corpus room, and how a row of someone's table becomes one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from revlm.config import CorpusConfig
from revlm.errors import UserError


class Document(NamedTuple):
    """One text and what is known about it."""

    doc_id: str
    text: str
    domain: str
    language: str
    label: str | None = None


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest known name, if one is close, and the list of all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    shown = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")  # noqa: PLR2004 -- one line
    return f"{hint}There are: {shown or 'none'}"


def check_text(text: str, where: str) -> None:
    """Refuse what no text may hold, so that nothing is ever repaired silently.

    Args:
        text: the text of a document.
        where: file and line, or document id.

    Raises:
        UserError: a NUL (the usual sign of binary or UTF-16 data) or a lone surrogate, which has
            no UTF-8.
    """
    nul = text.find("\0")
    if nul >= 0:
        raise UserError(
            f"{where}: NUL character at offset {nul} of the text: binary or UTF-16 data? Remove or re-encode it."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: lone surrogate U+{ord(text[error.start]):04X} at offset {error.start} of the text: "
            "it cannot be written as UTF-8. Remove it or write the pair."
        ) from None


def document_from_row(
    row: Mapping[str, Any], config: CorpusConfig, *, where: str, doc_id: str, domain: str
) -> Document:
    """A document out of one row, by the column names of the config.

    Args:
        row: column to value; nested values are mappings.
        config: names of the columns; a dot descends into a nested field.
        where: place named in errors.
        doc_id: used when `data.id` names no column.
        domain: used when `data.domain` names no column.

    Raises:
        UserError: a named column is missing or empty, or the text is not a text.
    """
    text = _field(row, config.text, "data.text", where)
    if not isinstance(text, str):
        raise UserError(
            f"{where}: field {config.text!r} is {_kind(text)}, not a string: name a column of text with data.text"
        )
    check_text(text, where)
    if config.id is not None:
        doc_id = _name(_field(row, config.id, "data.id", where), config.id, "data.id", where)
    if config.domain is not None:
        domain = _name(_field(row, config.domain, "data.domain", where), config.domain, "data.domain", where)
    label = None if config.label is None else _field(row, config.label, "data.label", where)
    return Document(doc_id, text, domain, config.language, None if label is None else str(label))


def _field(row: Mapping[str, Any], dotted: str, option: str, where: str) -> Any:
    if dotted in row:
        return row[dotted]
    value: Any = row
    for depth, part in enumerate(dotted.split(".")):
        if not isinstance(value, Mapping) or part not in value:
            inside = ".".join(dotted.split(".")[:depth])
            known = [f"{inside}.{name}".lstrip(".") for name in value] if isinstance(value, Mapping) else []
            raise UserError(
                f"{where}: no field {dotted!r} ({option}): {nearest(dotted, known)}. Set {option}=NAME."
            )
        value = value[part]
    return value


def _name(value: Any, column: str, option: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise UserError(
            f"{where}: field {column!r} ({option}) is {_kind(value)}: a string or an integer is needed"
        )
    name = str(value)
    check_text(name, f"{where}, field {column!r}")
    return name


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "empty" if value == "" else f"of type {type(value).__name__}"
