"""Folders that are either complete or absent, whoever builds them and whatever kills them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import FileLock

_ONLY_FINISHED: ContextVar[bool] = ContextVar("only_finished", default=False)


class NotPreparedError(Exception):
    """A folder is not there, and nothing may be built now."""


@contextmanager
def only_finished() -> Iterator[None]:
    """Open what is prepared already, and build nothing: `atomic_folder` raises NotPreparedError instead."""
    token = _ONLY_FINISHED.set(True)
    try:
        yield
    finally:
        _ONLY_FINISHED.reset(token)


def default_cache() -> Path:
    """Where `cache.dir` points unless it is set."""
    return Path(os.environ.get("REVLM_CACHE", "~/.cache/revlm")).expanduser()


def digest(*parts: Any) -> str:
    """Short hash of plain values; the same on every machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path | None]:
    """A folder to fill, which appears under its name only when the block ends well.

    One process builds while others wait. What a killed build left is removed by the next one.

    Yields:
        An empty folder to write into, or None when `folder` is there already.

    Raises:
        NotPreparedError: `folder` is not there, within `only_finished`.
    """
    if _ONLY_FINISHED.get():
        if not folder.is_dir():
            raise NotPreparedError(folder)
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            yield None
            return
        for stale in folder.parent.glob(f"{folder.name}.building-*"):
            shutil.rmtree(stale)
        with _building(folder, f"{folder.name}.building-") as building:
            yield building
            building.replace(folder)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` only when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _building(folder, f".{folder.name}-") as building:
        yield building
        if folder.is_dir():
            shutil.rmtree(folder)
        building.chmod(0o755)
        building.replace(folder)


@contextmanager
def _building(folder: Path, prefix: str) -> Iterator[Path]:
    """A new folder beside `folder`, removed when the block fails."""
    building = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield building
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` in one step, and only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file: a reader sees the old content or the new, never half. Text is UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
