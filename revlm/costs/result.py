"""What an estimate says: the cost of a command by part, and that of its relatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from revlm.costs.arithmetic import Size


@dataclass(frozen=True)
class Cost:
    """One run.

    Attributes:
        name: forward, reverse, mixed, ...
        tokens: that it trains on, or scores.
        steps: of the optimiser; 0 where nothing is trained.
        rate: tokens a second while it trains, or scores.
        seconds: by part.
        memory: bytes of each device, by part.
        disk: bytes, by part.
        devices: that it keeps busy.
    """

    name: str
    tokens: int
    steps: int
    rate: float
    seconds: Mapping[str, float]
    memory: Mapping[str, float]
    disk: Mapping[str, float]
    devices: int = 1

    @property
    def hours(self) -> float:
        """Of all devices together."""
        return sum(self.seconds.values()) * self.devices / 3600


@dataclass(frozen=True)
class Estimate:
    """A command's cost, and beside it that of its relatives.

    Attributes:
        command: train or score.
        where: in words, with how many devices.
        room: bytes of memory of one of them.
        own: what was asked for.
        others: the same in other directions, and scoring.
        size: of the model; None where only weights were opened.
        notes: where the numbers come from, a sentence each.
    """

    command: str
    where: str
    room: float
    own: Cost
    others: list[Cost]
    size: Size | None
    notes: list[str] = field(default_factory=list)


def added(each: list[Mapping[str, float]]) -> dict[str, float]:
    """Parts of several costs, added up by name."""
    total: dict[str, float] = {}
    for parts in each:
        for part, value in parts.items():
            total[part] = total.get(part, 0.0) + value
    return total


def plain(estimate: Estimate) -> dict[str, Any]:
    """Every number, for a file."""

    def told(cost: Cost) -> dict[str, Any]:
        totals = {"total_seconds": sum(cost.seconds.values()), "total_memory": sum(cost.memory.values())}
        whole = totals | {"total_disk": sum(cost.disk.values()), "device_hours": cost.hours}
        parts = {name: dict(getattr(cost, name)) for name in ("seconds", "memory", "disk")}
        return (
            {
                "name": cost.name,
                "tokens": cost.tokens,
                "tokens_per_second": cost.rate,
                "devices": cost.devices,
            }
            | whole
            | parts
        )

    size = estimate.size
    model = (
        {}
        if size is None
        else {
            "parameters": size.total,
            "by_part": dict(size.parameters),
            "flops_per_token": size.training_flops,
        }
    )
    return {
        "command": estimate.command,
        "where": estimate.where,
        "own": told(estimate.own),
        "others": [told(cost) for cost in estimate.others],
        "model": model,
        "notes": estimate.notes,
    }
