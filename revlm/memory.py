"""Memory that a process may still take, and a refusal before the work where it would not be enough."""

from __future__ import annotations

from pathlib import Path

from revlm.errors import UserError

# Not all of what is free: the model, its gradients and everyone else need some.
SHARE = 0.9
_MEMINFO = Path("/proc/meminfo")
_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def available() -> int | None:
    """Bytes that this process may still take, by the machine and by its control group; None where neither tells."""
    known = [_machine(), *(_group(*paths) for paths in _GROUPS)]
    return min((size for size in known if size is not None), default=None)


def check_fits(size: float, what: str, way_out: str) -> None:
    """Refuse work that needs more memory than there is.

    Args:
        size: bytes that it would take.
        what: takes them.
        way_out: what to set instead.

    Raises:
        UserError: it does not fit.
    """
    free = available()
    if free is not None and size > SHARE * free:
        raise UserError(
            f"{what} would take {size / 1e9:.1f} GB of memory, of {free / 1e9:.1f} GB free: {way_out}."
        )


def _machine() -> int | None:
    if not _MEMINFO.exists():
        return None
    lines = (line.split() for line in _MEMINFO.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)


def _group(limit: Path, used: Path) -> int | None:
    try:
        return max(0, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):
        # No such group, or "max": no limit.
        return None
