"""Documents out of files: tables by row, texts as a whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from revlm.config import CorpusConfig, TextFormat, Unreadable
from revlm.data.document import Document, check_text, text_columns
from revlm.data.lines import COMPRESSIONS, text_of
from revlm.data.reading import ID_COLUMNS, Reading, usable_document
from revlm.data.tables import read_rows
from revlm.errors import UnreadableFileError, UnreadableRowError, UserError
from revlm.paths import matches

_FORMATS = {
    ".jsonl": TextFormat.jsonl,
    ".ndjson": TextFormat.jsonl,
    ".json": TextFormat.jsonl,
    ".parquet": TextFormat.parquet,
    ".arrow": TextFormat.arrow,
    ".csv": TextFormat.csv,
    ".tsv": TextFormat.csv,
    ".txt": TextFormat.text,
    ".text": TextFormat.text,
    ".md": TextFormat.text,
}
# Beside tables these are settings, cards and licences rather than documents.
_BYSTANDERS = ({".json"}, {".txt", ".text", ".md"})
# A Parquet file's metadata may hold {"columns": {"id": NAME, "domain": NAME}}, as JSON: what data.id
# and data.domain are where these options are null.
METADATA, COLUMNS = b"revlm", "columns"
_SHARD_NUMBER = re.compile(r"[-_]\d+(-of-\d+)?$")


class InputFile(NamedTuple):
    """A file to read, and its path below the fixed part of the glob: what ids are made of."""

    path: Path
    name: str
    format: TextFormat


def find_files(config: CorpusConfig, reading: Reading | None = None) -> list[InputFile]:
    """The files that `data.path` stands for, sorted by name.

    Of a folder that holds tables the tables alone are read: cards, licences and settings beside them are no
    documents. What is passed over is counted.

    Args:
        config: of the corpus.
        reading: counts the files that are passed over.

    Raises:
        UserError: nothing matches, or a format cannot be told from a name.
    """
    if not config.path:
        raise UserError(
            "data=files reads nothing without a path: set data.path to a file, a folder or a glob."
        )
    pattern = Path(config.path)
    root, paths = matches(pattern)
    passed_over: dict[str, list[str]] = {}
    files = []
    for path in paths:
        name = path.relative_to(root).as_posix()
        check_text(name, f"the name of {str(path)!a}")
        kind = _FORMATS.get(_suffix(name)) if config.format is TextFormat.auto else config.format
        if kind is not None:
            files.append(InputFile(path, name, kind))
        elif pattern.is_dir():
            passed_over.setdefault("of other kinds", []).append(name)
        else:
            raise UserError(
                f"{path}: its ending does not tell what it is: set data.format to jsonl, csv, parquet, arrow or text, "
                f"or use a name ending in {', '.join(_FORMATS)} (and {', '.join(COMPRESSIONS)})."
            )
    if not files:
        raise UserError(
            f"data.path={config.path} matches no readable file: give a file, a folder or a glob "
            f"('**' descends) of {', '.join(_FORMATS)}, plain or compressed ({', '.join(COMPRESSIONS)})."
        )
    if config.format is TextFormat.auto and pattern.is_dir():
        files = _without_bystanders(_without_caches(files, passed_over), passed_over)
    if reading is not None:
        reading.passed_over |= passed_over
    return sorted(files, key=lambda file: file.name)


def _without_caches(files: list[InputFile], passed_over: dict[str, list[str]]) -> list[InputFile]:
    """Leave out what `Dataset.map` keeps in a saved dataset's folder, whose state.json names the rows' files."""
    listed: dict[Path, set[str]] = {}
    for state in {file.path.with_name("state.json") for file in files if file.format is TextFormat.arrow}:
        # Without a state.json that can be read nothing says what belongs to a dataset.
        with suppress(OSError, ValueError, LookupError, TypeError):
            parts = json.loads(state.read_text(encoding="utf-8"))["_data_files"]
            listed[state.parent] = {part["filename"] for part in parts}
    caches = [
        file
        for file in files
        if file.format is TextFormat.arrow
        and file.path.name not in listed.get(file.path.parent, {file.path.name})
    ]
    if caches:
        passed_over["beside a saved dataset (caches)"] = sorted(file.name for file in caches)
    return [file for file in files if file not in caches]


def _without_bystanders(files: list[InputFile], passed_over: dict[str, list[str]]) -> list[InputFile]:
    for endings in _BYSTANDERS[::-1]:
        others = [file for file in files if _suffix(file.name) not in endings]
        if others and len(others) < len(files):
            beside = sorted(file.name for file in files if _suffix(file.name) in endings)
            why = f"beside tables ({' '.join(sorted(endings))})"
            passed_over[why] = beside
            files = others
    return files


def _suffix(name: str) -> str:
    path = PurePosixPath(name.lower())
    return (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix


def read_files(config: CorpusConfig, reading: Reading | None = None) -> Iterator[Document]:
    """Documents of all files that `data.path` matches, in order of file name and row.

    A row of a table is one document. Its id is that of the column `data.id`; where that is null, what the
    column `doc_id` or else `id` says; and `<relative path>:<row>` (rows count from 1) where there is neither,
    or with `data.id=''`. A text file is one document; its id is its relative path. Without `data.domain` the
    domain is, for tables, the file's name without endings and shard number (`arxiv-00001-of-00004.jsonl.zst`
    is `arxiv`), and for texts the folder they lie in, or `files` when there is none below the root. A Parquet
    file that names its own columns of ids and domains (see `COLUMNS`) needs neither option.

    Args:
        config: of the corpus.
        reading: counts what is read and what is left out: with `data.unreadable=skip` rows that hold no
            usable document, and damaged files, of which stays what could be read before the damage.

    Raises:
        UserError: no file; a file or a row that cannot be read; a column that no row has; an id that
            occurs twice.
    """
    reading = reading or Reading()
    return _distinct(config, find_files(config, reading), reading)


def _distinct(config: CorpusConfig, files: list[InputFile], reading: Reading) -> Iterator[Document]:
    seen: set[bytes] = set()
    for place, column, document in _places(config, files, reading):
        # Ids made from paths and rows are distinct by construction.
        key = hashlib.blake2b(document.doc_id.encode(), digest_size=16).digest() if column else b""
        if key and key in seen:
            # Reading again finds the first place; remembering every place would cost memory.
            first = next(
                where
                for where, _, other in _places(config, files, Reading())
                if other.doc_id == document.doc_id
            )
            raise UserError(
                f"id {document.doc_id!r} ({column}) occurs twice, at {first} and at {place}: "
                "make ids unique, or number the rows with data.id=''."
            )
        if key:
            seen.add(key)
        yield document


def _places(
    config: CorpusConfig, files: list[InputFile], reading: Reading
) -> Iterator[tuple[str, str, Document]]:
    """Documents with the place of each, and the column that its id comes from."""
    for file in files:
        try:
            yield from _documents(config, file, reading)
        except UnreadableFileError as error:
            if config.unreadable is Unreadable.refuse:
                raise
            reading.unreadable.append(str(error))


def _documents(
    config: CorpusConfig, file: InputFile, reading: Reading
) -> Iterator[tuple[str, str, Document]]:
    try:
        reading.files, reading.bytes = reading.files + 1, reading.bytes + file.path.stat().st_size
        if file.format is TextFormat.text:
            yield from _whole_text(config, file, reading)
        else:
            yield from _rows(_named(config, file), file, reading)
    except OSError as error:
        raise UnreadableFileError(
            f"{file.path}: cannot be read ({error.strerror or error}): mend it or exclude it from data.path."
        ) from error


def _whole_text(
    config: CorpusConfig, file: InputFile, reading: Reading
) -> Iterator[tuple[str, str, Document]]:
    reading.rows += 1
    text = "".join(text_of(file.path))
    try:
        check_text(text, str(file.path))
    except UnreadableRowError as error:
        reading.leave_out(error, config)
        return
    domain = PurePosixPath(file.name).parent.name or "files"
    yield str(file.path), "", Document(file.name, text, domain, config.language)


def _rows(config: CorpusConfig, file: InputFile, reading: Reading) -> Iterator[tuple[str, str, Document]]:
    """Documents of a table; a column that none of its rows has is a mistake of the options, not of the rows."""
    wanted = [*text_columns(config), *(name for name in (config.id, config.domain, config.label) if name)]
    domain = _SHARD_NUMBER.sub("", PurePosixPath(file.name).name.split(".")[0]) or "files"
    lost, usable = reading.rows_left_out.copy(), False
    for number, row in read_rows(file.path, file.format, wanted, () if config.id is not None else ID_COLUMNS):
        reading.rows += 1
        place = f"{file.path}:{number}"
        found = usable_document(
            row, config, reading, where=place, doc_id=f"{file.name}:{number}", domain=domain
        )
        if found is not None:
            usable = True
            yield place, *found
    for reason in reading.rows_left_out.keys() - lost.keys():
        if reason.startswith("no field") and not usable:
            raise UserError(reading.first_left_out[reason])


def _named(config: CorpusConfig, file: InputFile) -> CorpusConfig:
    """The options, completed by what a Parquet file says of its own columns."""
    if file.format is not TextFormat.parquet or (config.id is not None and config.domain):
        return config
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file.path)
    except (pa.ArrowException, OSError):
        # Reading the file will say what is wrong with it.
        return config
    try:
        own = json.loads((schema.metadata or {}).get(METADATA, b"{}"))[COLUMNS]
        # Whoever copies a table may keep what it says and drop the column.
        names = {option: own[option] for option in ("id", "domain") if own.get(option) in schema.names}
    except (ValueError, LookupError, TypeError, AttributeError):
        # Made by others, or without columns named.
        return config
    return replace(
        config,
        id=names.get("id") if config.id is None else config.id,
        domain=config.domain or names.get("domain"),
    )
