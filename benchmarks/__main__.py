"""All benchmarks, or some: a table each, benchmarks/results.json and docs/performance.md.

python -m benchmarks [PART ...]

Results are kept by device and part, so that parts can be measured at different times and machines stay apart. Speeds
are told as ratios beside peers, measured in turns on one machine; nothing else on it should run meanwhile.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    bfloat16,
    cost_model,
    memory_peaks,
    scoring_speed,
    selection_speed,
    time_to_loss,
    token_speed,
    training_speed,
    waiting,
)
from benchmarks.page import write_page
from benchmarks.turns import Row, show
from revlm.cache import write_atomically
from revlm.models.precision import has_bfloat16_units
from revlm.records.results import commit, versions
from revlm.training.throughput import device_name

RESULTS = Path(__file__).parent / "results.json"
PARTS: dict[str, Callable[[], list[Row]]] = {
    "training": training_speed.rows,
    "loss": time_to_loss.rows,
    "scoring": scoring_speed.rows,
    "tokens": token_speed.rows,
    "selection": selection_speed.rows,
    "waiting": waiting.rows,
    "memory": memory_peaks.rows,
    "cost": cost_model.rows,
    "bfloat16": bfloat16.rows,
}


def main(chosen: list[str]) -> None:
    """Measure each part and keep it at once, so that an end in the middle loses one part only."""
    cpu = torch.device("cpu")
    if unknown := [name for name in chosen if name not in PARTS]:
        sys.exit(f"{unknown[0]}: no such part; choose from {', '.join(PARTS)}")
    if not chosen and not has_bfloat16_units(cpu):
        print("bfloat16 is left out: this processor has no units for it", flush=True)
        chosen = [name for name in PARTS if name != "bfloat16"]
    for name in chosen or PARTS:
        rows = PARTS[name]()
        show(name, rows)
        keep(device_name(cpu), name, rows)


def keep(device: str, part: str, rows: list[Row]) -> None:
    """Put a part's rows into results.json, and write the page anew."""
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results.setdefault(device, {})[part] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit(),
        "versions": versions(),
        "rows": rows,
    }
    write_atomically(RESULTS, json.dumps(results, indent=1) + "\n")
    write_page(results)


if __name__ == "__main__":
    main(sys.argv[1:])
