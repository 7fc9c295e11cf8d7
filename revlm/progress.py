"""Progress on a terminal, silence elsewhere."""

from __future__ import annotations

from tqdm import tqdm


def track(what: str, total: int | None, unit: str) -> tqdm:
    """A progress bar with time left, on stderr, only where someone can see it."""
    return tqdm(total=total, desc=what, unit=f" {unit}", disable=None, leave=False, dynamic_ncols=True)
