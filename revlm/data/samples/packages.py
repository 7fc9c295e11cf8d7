"""A source of sample text, and the small tools its readers share.

Packages are found by their metadata and read by path. They are never imported: several of them
need heavy or conflicting dependencies that are deliberately not installed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A text, the part of its id that follows the domain, and a label where the source has one."""

    key: str
    text: str
    label: str | None = None


@dataclass(frozen=True)
class SampleSource:
    """One text inside one pinned package.

    Attributes:
        domain: what kind of text it is; a domain may have several sources.
        language: ISO 639-1.
        package: distribution name.
        version: the only one the reader is written for.
        opt_in: licence of the package where it must be chosen knowingly; empty for the default set.
        origin: the data set or work that the package carries.
        terms: terms of the text. The licence of a package covers its code, seldom the text.
        read: rows in a stable order.
    """

    domain: str
    language: str
    package: str
    version: str
    opt_in: str
    origin: str
    terms: str
    read: Callable[[], Iterable[Row]]

    @property
    def requirement(self) -> str:
        """What pip understands."""
        return f"{self.package}=={self.version}"

    def installed(self) -> str | None:
        """The version that is installed, if any."""
        try:
            return distribution(self.package).version
        except PackageNotFoundError:
            return None


def package_path(package: str, path: str) -> Path:
    """Where a file of an installed distribution lies."""
    return Path(str(distribution(package).locate_file(path)))


def json_lines(package: str, path: str) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file of a package."""
    with package_path(package, path).open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def zipped_csv(package: str, path: str) -> Iterator[dict[str, str]]:
    """The rows of the only CSV file inside a ZIP archive of a package."""
    csv.field_size_limit(1 << 30)
    with zipfile.ZipFile(package_path(package, path)) as archive:
        (name,) = archive.namelist()
        with archive.open(name) as raw:
            yield from csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))


def gzipped_lines(package: str, path: str) -> list[str]:
    """The lines of a gzipped text file of a package, without their ends and without a BOM."""
    text = gzip.decompress(package_path(package, path).read_bytes()).decode("utf-8-sig")
    return text.removesuffix("\n").split("\n")


def unique(rows: Iterable[Row]) -> Iterator[Row]:
    """The first row of each text; a data set may repeat a passage for each question asked of it."""
    seen: set[str] = set()
    for row in rows:
        if row.text not in seen:
            seen.add(row.text)
            yield row


# What a byte of a UTF-8 continuation looks like when it was read as Windows-1252 or Latin-1.
_BYTES = {bytes([b]).decode("cp1252", errors="ignore") or chr(b): b for b in range(0x80, 0xC0)}
_BYTES |= {chr(b): b for b in range(0x80, 0x100)}
_TAIL = "[" + re.escape("".join(c for c, b in _BYTES.items() if b < 0xC0)) + "]"  # noqa: PLR2004 -- UTF-8
_TWICE_ENCODED = re.compile(f"[\u00c2-\u00df]{_TAIL}|[\u00e0-\u00ef]{_TAIL}{{2}}|[\u00f0-\u00f4]{_TAIL}{{3}}")


def decode_twice_encoded(text: str) -> str:
    """Undo UTF-8 that was once read as Windows-1252 or Latin-1.

    The damage is exactly reversible and the sequences do not occur in running text, so the repair
    changes nothing else.
    """

    def repair(match: re.Match[str]) -> str:
        try:
            return bytes(_BYTES[c] for c in match.group()).decode()
        except UnicodeDecodeError:
            return match.group()

    return _TWICE_ENCODED.sub(repair, text)
