"""Documents out of JSONL, Parquet and plain text files, in constant memory."""

from __future__ import annotations

import codecs
import glob
import gzip
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from revlm.config import CorpusConfig, TextFormat, Unreadable
from revlm.data.document import Document, check_text, document_from_row
from revlm.errors import UnreadableFileError, UserError

_FORMATS = {
    ".jsonl": TextFormat.jsonl,
    ".ndjson": TextFormat.jsonl,
    ".json": TextFormat.jsonl,
    ".parquet": TextFormat.parquet,
    ".txt": TextFormat.text,
    ".text": TextFormat.text,
    ".md": TextFormat.text,
}
_COMPRESSIONS = (".gz", ".zst")
# A Parquet file's metadata may hold {"columns": {"id": NAME, "domain": NAME}}, as JSON: what data.id
# and data.domain are where these options are null.
METADATA, COLUMNS = b"revlm", "columns"
_CHUNK_BYTES = 1 << 20
_BATCH_ROWS = 256
_SHARD_NUMBER = re.compile(r"[-_]\d+(-of-\d+)?$")


class InputFile(NamedTuple):
    """A file to read, and its path below the fixed part of the glob: what ids are made of."""

    path: Path
    name: str
    format: TextFormat


def find_files(config: CorpusConfig) -> list[InputFile]:
    """The files that `data.path` stands for, sorted by name.

    Raises:
        UserError: nothing matches, or a format cannot be told from a name.
    """
    if not config.path:
        raise UserError(
            "data=files reads nothing without a path: set data.path to a file, a folder or a glob."
        )
    pattern = Path(config.path)
    is_folder = pattern.is_dir()
    root, paths = _match(pattern)
    files = []
    for path in paths:
        name = path.relative_to(root).as_posix()
        check_text(name, f"the name of {str(path)!a}")
        kind = _FORMATS.get(_suffix(name)) if config.format is TextFormat.auto else config.format
        if kind is None and not is_folder:
            raise UserError(
                f"{path}: its ending does not tell what it is: set data.format to jsonl, parquet or text, "
                f"or use a name ending in {', '.join(_FORMATS)} (and {', '.join(_COMPRESSIONS)})."
            )
        if kind is not None:
            files.append(InputFile(path, name, kind))
    if not files:
        raise UserError(
            f"data.path={config.path} matches no readable file: give a file, a folder or a glob "
            f"('**' descends) of {', '.join(_FORMATS)}, plain or compressed ({', '.join(_COMPRESSIONS)})."
        )
    return sorted(files, key=lambda file: file.name)


def _match(pattern: Path) -> tuple[Path, list[Path]]:
    if pattern.is_dir():
        # Path.glob cannot keep hidden files out.
        found = glob.glob("**", root_dir=pattern, recursive=True)  # noqa: PTH207
        return pattern, [pattern / name for name in found if not (pattern / name).is_dir()]
    # A file may have brackets in its name.
    if pattern.exists():
        return pattern.parent, [pattern]
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed)
    found = glob.glob(str(Path(*pattern.parts[len(fixed) :])), root_dir=root, recursive=True)  # noqa: PTH207
    return root, [root / name for name in found if not (root / name).is_dir()]


def _suffix(name: str) -> str:
    path = PurePosixPath(name)
    return (path.with_suffix("") if path.suffix in _COMPRESSIONS else path).suffix


def read_files(config: CorpusConfig, unreadable: list[str] | None = None) -> Iterator[Document]:
    """Documents of all files that `data.path` matches, in order of file name and row.

    A JSONL line or Parquet row is one document, with the id `<relative path>:<row>` (rows count
    from 1) unless `data.id` names a column. A text file is one document; its id is its relative
    path. Without `data.domain` the domain is, for tables, the file's name without endings and shard
    number (`arxiv-00001-of-00004.jsonl.zst` is `arxiv`), and for texts the folder they lie in, or
    `files` when there is none below the root. A Parquet file that names its own columns of ids and
    domains (see `COLUMNS`) needs neither option.

    Args:
        config: of the corpus.
        unreadable: collects one line for each damaged file, with `data.unreadable=skip`; what could
            be read of it before the damage stays.

    Raises:
        UserError: no file; a file that cannot be read or decoded; a missing column; a text that is
            none; an id that occurs twice.
    """
    return _distinct(config, find_files(config), [] if unreadable is None else unreadable)


def _distinct(config: CorpusConfig, files: list[InputFile], unreadable: list[str]) -> Iterator[Document]:
    # Ids made from paths and rows are distinct by construction.
    if all(_named(config, file).id is None for file in files):
        yield from (document for _, document in _places(config, files, unreadable))
        return
    seen: set[bytes] = set()
    for place, document in _places(config, files, unreadable):
        key = hashlib.blake2b(document.doc_id.encode(), digest_size=16).digest()
        if key in seen:
            # Reading again finds the first place; remembering every place would cost memory.
            first = next(
                where for where, other in _places(config, files, []) if other.doc_id == document.doc_id
            )
            raise UserError(
                f"id {document.doc_id!r} ({config.id or 'named by the file'}) occurs twice, at {first} and at "
                f"{place}: make ids unique{', or leave data.id empty to number the rows' if config.id else ''}."
            )
        seen.add(key)
        yield document


def _places(
    config: CorpusConfig, files: list[InputFile], unreadable: list[str]
) -> Iterator[tuple[str, Document]]:
    for file in files:
        try:
            yield from _documents(config, file)
        except UnreadableFileError as error:
            if config.unreadable is Unreadable.refuse:
                raise
            # Files are read twice where caps choose among their documents.
            if str(error) not in unreadable:
                unreadable.append(str(error))


def _documents(config: CorpusConfig, file: InputFile) -> Iterator[tuple[str, Document]]:
    try:
        if file.format is TextFormat.text:
            yield str(file.path), _whole_text(config, file)
            return
        config = _named(config, file)
        rows = _jsonl_rows(file.path) if file.format is TextFormat.jsonl else _parquet_rows(config, file)
        domain = _SHARD_NUMBER.sub("", PurePosixPath(file.name).name.split(".")[0]) or "files"
        for number, row in rows:
            place = f"{file.path}:{number}"
            default = f"{file.name}:{number}"
            yield place, document_from_row(row, config, where=place, doc_id=default, domain=domain)
    except OSError as error:
        raise UnreadableFileError(
            f"{file.path}: cannot be read ({error.strerror or error}): mend it or exclude it from data.path."
        ) from error


def _whole_text(config: CorpusConfig, file: InputFile) -> Document:
    text = "".join(_decoded(file.path, _chunks(file.path)))
    check_text(text, str(file.path))
    return Document(file.name, text, PurePosixPath(file.name).parent.name or "files", config.language)


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(_decoded(path, _chunks(path))), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}:{number}: invalid JSON at column {error.colno} ({error.msg}): "
                "one object a line is expected; mend the line or set data.format."
            ) from None
        except (RecursionError, ValueError) as error:
            raise UserError(f"{path}:{number}: JSON that cannot be read ({error}): mend the line.") from None
        if not isinstance(row, dict):
            raise UserError(
                f"{path}:{number}: a JSON {type(row).__name__}, not an object: one object a line is expected."
            )
        yield number, row


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines as JSONL means them: U+2028 and form feeds end none."""
    rest: list[str] = []
    for piece in pieces:
        *complete, last = piece.split("\n")
        for line in complete:
            yield "".join([*rest, line])
            rest = []
        rest.append(last)
    yield "".join(rest)


def _decoded(path: Path, chunks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    first = True
    try:
        for chunk in itertools.chain(chunks, (b"",)):
            held = len(decoder.getstate()[0])
            text = decoder.decode(chunk, final=not chunk)
            yield text.removeprefix("\ufeff") if first else text
            first = first and not text
            offset += len(chunk)
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{path}: invalid UTF-8 at byte {offset - held + error.start} of the decompressed text: "
            "re-encode the file as UTF-8."
        ) from None


def _chunks(path: Path) -> Iterator[bytes]:
    """Bytes of a file, decompressed by its ending."""
    if path.suffix == ".zst":
        yield from _zstd_chunks(path)
        return
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFileError(
            f"{path}: damaged or truncated gzip ({error}): fetch or compress the file again."
        ) from error


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """Frames decompressed one by one: zstandard's own stream reader ends a cut file without a word."""
    import zstandard

    frame, data = zstandard.ZstdDecompressor().decompressobj(), b""
    begun = False
    try:
        with path.open("rb") as file:
            while data := data or file.read(_CHUNK_BYTES):
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                begun = True
                if text := frame.decompress(data):
                    yield text
                data = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError as error:
        raise UnreadableFileError(
            f"{path}: damaged zstd ({error}): fetch or compress the file again."
        ) from error
    if begun and not frame.eof:
        raise UnreadableFileError(f"{path}: truncated zstd: fetch or compress the file again.")


def _named(config: CorpusConfig, file: InputFile) -> CorpusConfig:
    """The options, completed by what a Parquet file says of its own columns."""
    if file.format is not TextFormat.parquet or (config.id and config.domain):
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
    return replace(config, id=config.id or names.get("id"), domain=config.domain or names.get("domain"))


def _parquet_rows(config: CorpusConfig, file: InputFile) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    from pyarrow import parquet

    wanted = [name for name in (config.text, config.id, config.domain, config.label) if name]
    number = 0
    try:
        with parquet.ParquetFile(file.path) as table:
            names = table.schema_arrow.names
            columns = [name for name in names if any(w == name or w.startswith(f"{name}.") for w in wanted)]
            # Without the text column all are read, so that the error can name them.
            has_text = any(config.text == name or config.text.startswith(f"{name}.") for name in columns)
            for batch in table.iter_batches(_BATCH_ROWS, columns=columns if has_text else None):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{file.path}: invalid UTF-8 at byte {error.start} of a text after row {number}: re-encode the column."
        ) from None
    except pa.ArrowException as error:
        raise UnreadableFileError(
            f"{file.path}: damaged or truncated Parquet ({error}): fetch or write the file again."
        ) from error
