"""An estimate in words: one sentence, then tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from revlm.costs.result import Cost, Estimate
from revlm.markup import markdown

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
COUNTS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))
YEAR = 365.25 * 86_400


def duration(seconds: float) -> str:
    """Such as "4 minutes 50 seconds": the two largest units; years beyond ten of them."""
    if seconds >= 10 * YEAR:
        return f"{seconds / YEAR:,.0f} years"
    whole = max(1, round(seconds))
    for (name, size), (lower, smaller) in itertools.pairwise(UNITS):
        if whole >= size:
            first, second = divmod(round(whole / smaller), size // smaller)
            return _counted(first, name) + (f" {_counted(second, lower)}" if second else "")
    return _counted(whole, "second")


def size(num_bytes: float) -> str:
    """Such as "620 MB" or "4.5 GB"."""
    name, unit = next(((name, unit) for name, unit in SIZES if num_bytes >= unit), ("bytes", 1.0))
    value = num_bytes / unit
    return f"{value:.1f} {name}" if value < 10 and name != "bytes" else f"{value:,.0f} {name}"  # noqa: PLR2004 -- two digits


def count(number: float) -> str:
    """Such as "1.3M" or "70.6B"."""
    name, unit = next(((name, unit) for name, unit in COUNTS if number >= unit), ("", 1.0))
    return f"{number / unit:.1f}{name}" if name else f"{number:,.0f}"


def told(estimate: Estimate) -> str:
    """The sentence, the tables and where the numbers come from."""
    parts = [sentence(estimate)]
    if not fits(estimate):
        parts.append(_too_large(estimate))
    parts.append("\n".join(estimate.notes))
    parts.append(
        markdown(["time", "seconds", "share"], _shares(estimate.own.seconds, lambda value: f"{value:,.1f}"))
    )
    parts.append(markdown([_memory_title(estimate), "bytes", "share"], _shares(estimate.own.memory, size)))
    parts.append(markdown(["disk", "bytes", "share"], _shares(estimate.own.disk, size)))
    if estimate.size is not None:
        parts.append(_model(estimate))
    if estimate.others:
        header = ["run", "tokens", "tokens/s", "time", "device-hours", "memory", "disk"]
        parts.append(markdown(header, [_row(cost) for cost in estimate.others]))
    return "\n\n".join(parts)


def sentence(estimate: Estimate) -> str:
    """What it all comes to."""
    own = estimate.own
    time, memory = duration(sum(own.seconds.values())), size(sum(own.memory.values()))
    hours = f" ({own.hours:,.0f} device-hours)" if own.devices > 1 else ""
    each = " on each" if own.devices > 1 else ""
    what = "This run" if estimate.command == "train" else "Scoring"
    return f"{what} takes {time} on {estimate.where}{hours} and {memory}{each}."


def fits(estimate: Estimate) -> bool:
    """Whether a device has the memory."""
    return sum(estimate.own.memory.values()) <= estimate.room


def _too_large(estimate: Estimate) -> str:
    need, room = sum(estimate.own.memory.values()), estimate.room
    return (
        f"It does not fit: a device has {size(room)}, {size(need)} are needed. Take more devices with trainer.strategy=fsdp, "
        "a smaller budget.micro_batch_size or data.window, or trainer.precision=bf16-true."
    )


def _memory_title(estimate: Estimate) -> str:
    return "memory of each device" if estimate.own.devices > 1 else "memory"


def _shares(parts: Mapping[str, float], shown: Callable[[float], str]) -> list[list[str]]:
    whole = sum(parts.values())
    rows = [[part, shown(value), f"{value / whole:.0%}"] for part, value in parts.items()]
    return [*rows, ["whole", shown(whole), ""]]


def _model(estimate: Estimate) -> str:
    assert estimate.size is not None
    found = estimate.size
    rows = [[part, count(number), f"{number / found.total:.0%}"] for part, number in found.parameters.items()]
    rows += [
        ["whole", count(found.total), ""],
        ["FLOPs of a training token", count(found.training_flops), ""],
        ["FLOPs of a read token", count(found.reading_flops), ""],
    ]
    return markdown(["parameters", "number", "share"], rows)


def _row(cost: Cost) -> list[str]:
    seconds = sum(cost.seconds.values())
    hours = f"{cost.hours:,.2f}" if cost.hours < 100 else f"{cost.hours:,.0f}"  # noqa: PLR2004 -- digits that matter
    return [
        cost.name,
        f"{cost.tokens:,}",
        f"{cost.rate:,.0f}",
        duration(seconds),
        hours,
        size(sum(cost.memory.values())),
        size(sum(cost.disk.values())),
    ]


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
