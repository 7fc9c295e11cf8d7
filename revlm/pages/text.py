"""Words that pages of training runs and of scoring runs share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from revlm.data.reading import told
from revlm.markup import markdown


def crossing_text(crossing: Mapping[str, Any]) -> str:
    """Where curves cross: "12 [9, 20]", "12 [9, never]", "never"; bounds are null past the window."""
    if "position" not in crossing:
        return "not measured"
    low, high = (crossing.get(bound) for bound in ("low", "high"))
    where = or_never(crossing["position"])
    return where if low is None and high is None else f"{where} [{or_never(low)}, {or_never(high)}]"


def or_never(position: Any) -> str:
    """A position, or "never" for null."""
    return "never" if position is None else str(position)


def crossing_columns(crossing: Mapping[str, Any]) -> dict[str, Any]:
    """A crossing as columns of a table: null past the window is "never", what was not measured is empty."""
    bounds = {"": "position", "_low": "low", "_high": "high"}
    found = {f"intersection{end}": or_never(crossing.get(key, "")) for end, key in bounds.items()}
    return found | {"intersection_share_never": crossing.get("share_never")}


def left_out_section(lines: Sequence[str]) -> list[str]:
    """A section that names what was left out, and why; none when nothing was."""
    return [f"## Left out: {len(lines)}", "\n".join(f"- {line}" for line in lines)] if lines else []


def skipped_text(summary: Mapping[str, Any]) -> str:
    """How many documents a run skipped, by reason; empty when none."""
    return ", ".join(f"{count:,} {reason}" for reason, count in (summary.get("skipped") or {}).items())


def table_text(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], summary: Mapping[str, Any]
) -> str:
    """The end of a run for the terminal: a table under its title, what the run skipped, what was not read."""
    skipped = skipped_text(summary)
    left_out = [f"Left out: {skipped}."] if skipped else []
    return "\n".join([title, "", markdown(header, rows), *left_out, *told(summary.get("read") or {})])


def page(parts: Iterable[str]) -> str:
    """Parts of a Markdown page below one another; an empty one leaves no gap."""
    return "\n\n".join(filter(None, parts)) + "\n"
