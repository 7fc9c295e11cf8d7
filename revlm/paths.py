"""Files and folders that a user's pattern stands for: a name that exists means itself, whatever a pattern would make of it."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def matches(pattern: Path | str) -> tuple[Path, list[Path]]:
    """The folder that a pattern stands on, and the files below it that the pattern matches.

    The longest beginning that exists is taken as it is: beside a folder `w`, the pattern `[web]/*.jsonl` means
    the folder `[web]` if there is one. The rest is a glob in which `**` descends. Hidden files and folders are
    left out unless they are named, and a file that is reached by several ways, such as links that go round in
    circles, counts once.

    Args:
        pattern: a file, a folder (all files below it) or a glob.

    Returns:
        What names of the files are relative to, and the files sorted by name.
    """
    path = Path(pattern)
    if path.is_dir():
        return path, _once(_files(path))
    if os.path.lexists(path):
        return path.parent, [path]
    root, rest = _standing(path)
    return root, _once(_expanded(root, rest, of_folders=False))


def matching_folders(pattern: Path | str) -> list[Path]:
    """The folders that a pattern stands for, as `matches` reads it, sorted by name: a folder means itself."""
    path = Path(pattern)
    if os.path.lexists(path):
        return [path] if path.is_dir() else []
    return _once(_expanded(*_standing(path), of_folders=True))


def folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from a root downwards with the names of its files, hidden ones left out, each real folder once."""
    seen = {os.path.realpath(root)}
    for place, inside, files in os.walk(root, followlinks=True):
        kept = []
        for name in sorted(inside):
            real = os.path.realpath(Path(place) / name)
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                kept.append(name)
        inside[:] = kept
        yield Path(place), sorted(name for name in files if not name.startswith("."))


def _files(root: Path) -> Iterator[Path]:
    return (place / name for place, names in folders(root) for name in names)


def _standing(pattern: Path) -> tuple[Path, list[str]]:
    """The longest beginning of a pattern that exists, and the other parts."""
    root, rest = Path(pattern.anchor), list(pattern.parts[1:] if pattern.anchor else pattern.parts)
    while rest and os.path.lexists(root / rest[0]):
        root /= rest.pop(0)
    return root, rest if root.is_dir() else []


def _expanded(folder: Path, parts: Sequence[str], *, of_folders: bool) -> Iterator[Path]:
    """Files or folders below a folder that match the parts of a glob; none for no parts."""
    if not parts:
        return
    head, *rest = parts
    if head == "**":
        for place, names in folders(folder):
            if rest:
                yield from _expanded(place, rest, of_folders=of_folders)
            else:
                yield from [place] if of_folders else (place / name for name in names)
        return
    names = [head] if not glob.has_magic(head) else sorted(entry.name for entry in os.scandir(folder))
    for name in names:
        path = folder / name
        hidden = name.startswith(".") and not head.startswith(".")
        if hidden or (not fnmatch.fnmatchcase(name, head) and name != head) or not os.path.lexists(path):
            continue
        if not rest and path.is_dir() is of_folders:
            yield path
        elif rest and path.is_dir():
            yield from _expanded(path, rest, of_folders=of_folders)


def _once(found: Iterator[Path]) -> list[Path]:
    """Files or folders by name, each real one once, under the first of its names."""
    by_place: dict[str, Path] = {}
    for path in sorted(found):
        by_place.setdefault(os.path.realpath(path), path)
    return list(by_place.values())
