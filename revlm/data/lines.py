"""Text files as lines and as JSON objects, plain or compressed, in constant memory.

Corpora, question files and prompts are all read here, so that a damaged file or line is told alike.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import itertools
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from revlm.errors import UnreadableFileError, UnreadableRowError

Opener = Callable[[Path], Any]
# Ending -> how to open, and what damage looks like.
_OPENERS: dict[str, tuple[Opener, type[Exception] | tuple[type[Exception], ...]]] = {
    ".gz": (gzip.open, (EOFError, zlib.error, gzip.BadGzipFile)),
    ".xz": (lzma.open, (EOFError, lzma.LZMAError)),
    ".bz2": (bz2.open, (EOFError, ValueError, OSError)),
}
COMPRESSIONS = (*_OPENERS, ".zst")
_CHUNK_BYTES = 1 << 20
_EXPECTED = "one object a line is expected: mend the line."
# zstd --long=31: the largest window that the format's own tool reads.
_ZSTD_WINDOW = 1 << 31


def text_of(path: Path) -> Iterator[str]:
    """A file's text in pieces, decompressed by its ending, without a byte order mark.

    Raises:
        UnreadableFileError: it cannot be opened, is damaged or cut short, or is not UTF-8.
    """
    try:
        yield from _decoded(path, _chunks(path))
    except OSError as error:
        raise UnreadableFileError(
            f"{path}: cannot be read ({error.strerror or error}): mend it or leave it out."
        ) from error


def lines_of(path: Path) -> Iterator[str]:
    """Lines of a file without their ends; U+2028 and form feeds end none.

    Raises:
        UnreadableFileError: see `text_of`.
    """
    rest: list[str] = []
    for piece in text_of(path):
        *complete, last = piece.split("\n")
        for line in complete:
            yield "".join([*rest, line])
            rest = []
        rest.append(last)
    yield "".join(rest)


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | UnreadableRowError]]:
    """Number (from 1) and object of each line that is not empty; for a line that holds none, what is wrong with it.

    A file called .json may also hold one list of objects, which is read as a whole.

    Raises:
        UnreadableFileError: see `text_of`.
    """
    lines = lines_of(path)
    first = next((line for line in lines if line.strip()), "")
    if ".json" in (suffix.lower() for suffix in path.suffixes) and first.lstrip().startswith("["):
        try:
            rows = json.loads("\n".join([first, *lines]))
        except (RecursionError, ValueError) as error:
            raise UnreadableFileError(
                f"{path}: begins with [ and is no JSON list ({error}): mend it."
            ) from error
        for number, row in enumerate(rows, start=1):
            yield number, _checked(f"{path}:{number}", row)
        return
    for number, line in enumerate(lines_of(path), start=1):
        if line.strip():
            yield number, _object(f"{path}:{number}", line)


def _object(where: str, line: str) -> dict[str, Any] | UnreadableRowError:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        what = f"invalid JSON at column {error.colno} ({error.msg}): {_EXPECTED}"
        return UnreadableRowError(where, what, "invalid JSON")
    except (RecursionError, ValueError) as error:
        return UnreadableRowError(
            where, f"JSON that cannot be read ({error}): mend the line.", "invalid JSON"
        )
    return _checked(where, row)


def _checked(where: str, row: Any) -> dict[str, Any] | UnreadableRowError:
    if isinstance(row, dict):
        return row
    what = f"a JSON {type(row).__name__}, not an object: {_EXPECTED}"
    return UnreadableRowError(where, what, "no JSON object")


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
    ending = path.suffix.lower()
    if ending == ".zst":
        yield from _zstd_chunks(path)
        return
    if ending not in _OPENERS:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(_CHUNK_BYTES), b"")
        return
    opened, damage = _OPENERS[ending]
    # An OSError of opening is told as such.
    with path.open("rb"):
        pass
    try:
        with opened(path) as file:
            yield from iter(lambda: file.read(_CHUNK_BYTES), b"")
    except damage as error:
        raise UnreadableFileError(
            f"{path}: damaged or truncated {ending[1:].replace('gz', 'gzip')} ({error}): fetch or compress the file again."
        ) from error


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """Frames decompressed one by one: zstandard's own stream reader ends a cut file without a word."""
    import zstandard

    def new_frame() -> Any:
        return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    frame, data, begun = new_frame(), b"", False
    try:
        with path.open("rb") as file:
            while data := data or file.read(_CHUNK_BYTES):
                if frame.eof:
                    frame = new_frame()
                begun = True
                if text := frame.decompress(data):
                    yield text
                data = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError as error:
        if "memory" in str(error):
            raise UnreadableFileError(
                f"{path}: zstd with a window above {_ZSTD_WINDOW >> 30} GB: compress it again with --long=31 or less."
            ) from error
        raise UnreadableFileError(
            f"{path}: damaged zstd ({error}): fetch or compress the file again."
        ) from error
    if begun and not frame.eof:
        raise UnreadableFileError(f"{path}: truncated zstd: fetch or compress the file again.")
