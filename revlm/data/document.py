"""The record that flows through the corpus room, and how a row of someone's table becomes one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from revlm.config import CorpusConfig
from revlm.errors import UnreadableRowError, UserError

# Between the columns of a text that is made of several.
JOINED_BY = "\n\n"


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
        UnreadableRowError: a NUL (the usual sign of binary or UTF-16 data) or a lone surrogate, which
            has no UTF-8.
    """
    nul = text.find("\0")
    if nul >= 0:
        what = f"NUL character at offset {nul} of the text: binary or UTF-16 data? Remove or re-encode it."
        raise UnreadableRowError(where, what, "NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = (
            f"lone surrogate U+{ord(text[error.start]):04X} at offset {error.start} of the text: "
            "it cannot be written as UTF-8. Remove it or write the pair."
        )
        raise UnreadableRowError(where, what, "lone surrogate") from None


def document_from_row(
    row: Mapping[str, Any],
    config: CorpusConfig,
    *,
    where: str,
    doc_id: str,
    domain: str,
    id_column: str | None = None,
) -> Document:
    """A document out of one row, by the column names of the config.

    Args:
        row: column to value; nested values are mappings.
        config: names of the columns; a dot descends into a nested field.
        where: place named in errors.
        doc_id: used without `id_column`.
        domain: used when `data.domain` names no column.
        id_column: what the id is taken from; None: none.

    Raises:
        UnreadableRowError: a named column is missing or empty, or the text is not a text.
    """
    text = JOINED_BY.join(_text(row, column, where) for column in text_columns(config))
    if id_column:
        doc_id = _name(_field(row, id_column, "data.id", where), id_column, "data.id", where)
    if config.domain is not None:
        domain = _name(_field(row, config.domain, "data.domain", where), config.domain, "data.domain", where)
    label = None if config.label is None else _field(row, config.label, "data.label", where)
    if label is not None:
        label = str(label)
        check_text(label, f"{where}, field {config.label!r}")
    return Document(doc_id, text, domain, config.language, label)


def text_columns(config: CorpusConfig) -> list[str]:
    """The columns that make a document's text, in their order."""
    columns = config.text if isinstance(config.text, list) else [config.text]
    if not columns or not all(isinstance(column, str) and column for column in columns):
        raise UserError(f"data.text={config.text}: name a column, or several such as data.text=[title,body].")
    return columns


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    text = _field(row, column, "data.text", where)
    if not isinstance(text, str):
        what = f"field {column!r} is {_kind(text)}, not a string: name a column of text with data.text."
        raise UnreadableRowError(where, what, f"{column} is {_kind(text)}")
    check_text(text, where)
    return text


def _field(row: Mapping[str, Any], dotted: str, option: str, where: str) -> Any:
    if dotted in row:
        return row[dotted]
    value: Any = row
    for depth, part in enumerate(dotted.split(".")):
        if not isinstance(value, Mapping) or part not in value:
            inside = ".".join(dotted.split(".")[:depth])
            known = [f"{inside}.{name}".lstrip(".") for name in value] if isinstance(value, Mapping) else []
            what = f"no field {dotted!r} ({option}): {nearest(dotted, known)}. Set {option}=NAME."
            raise UnreadableRowError(where, what, f"no field {dotted}")
        value = value[part]
    return value


def _name(value: Any, column: str, option: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        what = f"field {column!r} ({option}) is {_kind(value)}: a string or an integer is needed"
        raise UnreadableRowError(where, what, f"{column} is {_kind(value)}")
    name = str(value)
    check_text(name, f"{where}, field {column!r}")
    return name


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "empty" if value == "" else f"of type {type(value).__name__}"


def beginning(text: str, max_bytes: int | None) -> str:
    """The text up to the last white space within so many UTF-8 bytes; without any there, just so many.

    Args:
        text: of a document.
        max_bytes: 1 or more; None: the whole text.
    """
    encoded = text.encode()
    if max_bytes is None or len(encoded) <= max_bytes:
        return text
    # One byte more than may stay: white space right behind the end is an end.
    cut = encoded[: max_bytes + 1].decode(errors="ignore")
    end = re.search(r"\s\S*$", cut)
    whole = encoded[:max_bytes].decode(errors="ignore")
    return cut[: end.start()].rstrip() if end and cut[: end.start()].strip() else whole
