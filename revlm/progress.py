"""Progress on a terminal; elsewhere silence, or a line now and then."""

from __future__ import annotations

import sys

from tqdm import tqdm

# Between lines where no terminal shows a bar.
LINE_SECONDS = 30


class _Lines:
    """Turns a bar that redraws itself into lines of a log."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def track(
    what: str, total: int | None, unit: str, *, done: int = 0, lines: bool = False, delay: float = 0
) -> tqdm:
    """A progress bar with time left, on stderr, where someone can see it.

    Args:
        what: stands before the bar.
        total: units in all, if known.
        unit: what is counted.
        done: units that an earlier sitting has done: they count as progress, not as speed.
        lines: for work of hours: where there is no terminal, write a line every half a minute.
        delay: seconds before anything is shown.
    """
    common = {
        "total": total,
        "initial": done,
        "desc": what,
        "unit": f" {unit}",
        "leave": False,
        "delay": delay,
    }
    if lines and not sys.stderr.isatty():
        return tqdm(**common, disable=False, file=_Lines(), mininterval=LINE_SECONDS, ascii=True, ncols=100)
    return tqdm(**common, disable=None, dynamic_ncols=True)
