"""What people wait for: help, the first step, the first scores, all studies' pages.

python -m benchmarks.waiting

Each as a new process, three times, with warm caches; seconds are medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.turns import Row, show

ROUNDS, POLL_SECONDS = 3, 0.02
MOST_SECONDS = 600
TRAIN = ("revlm.train", "+experiment=from_scratch_mixed", "budget.tokens=20000", "budget.validations=1")


def until(command: list[str], happened: Callable[[], bool]) -> float:
    """Seconds from the start of a process until something has happened, after which it is ended."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not happened():
            if process.poll() is not None or time.perf_counter() - began > MOST_SECONDS:
                break
            time.sleep(POLL_SECONDS)
        took = time.perf_counter() - began
        if not happened():
            raise RuntimeError(f"{' '.join(command)} ended before it came so far")
        process.terminate()
        process.wait()
    return took


def whole(*arguments: str) -> float:
    """Seconds of a whole process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


def has_step(path: Path) -> bool:
    """Whether a record holds a training step."""
    return path.exists() and '"train/nll"' in path.read_text()


def first_step(folder: Path, number: int) -> float:
    """Of a training run whose corpus is prepared: its record's first row of a step, behind the first validation."""
    run = folder / f"train{number}"
    command = [sys.executable, "-m", *TRAIN, "trainer.log_every_n_steps=1", f"run.dir={run}"]
    return until(command, lambda: has_step(run / "metrics.jsonl"))


def first_scores(folder: Path, number: int, model: Path) -> float:
    """The first finished shard of a scoring run."""
    run = folder / f"score{number}"
    options = (f"model={model}", "data=sample", "shard_tokens=5000", f"run.dir={run}")
    command = [sys.executable, "-m", "revlm.score", *options]
    return until(command, lambda: any((run / "shards").glob("*.json")))


def rows() -> list[Row]:
    """Seconds of each wait, beside what was hoped for."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole(*TRAIN, f"run.dir={folder / 'first'}")
        model = folder / "first" / "model"
        first_scores(folder, -1, model)
        waits: dict[str, tuple[float, Callable[[int], float]]] = {
            "python -m revlm.train --help": (1, lambda _: whole("revlm.train", "--help")),
            "first step of a second training run": (6, lambda n: first_step(folder, n)),
            "first scores": (8, lambda n: first_scores(folder, n, model)),
            "make results": (15, lambda _: whole("revlm.report", "runs=null", "experiments=experiments")),
        }
        return [
            {
                "wait": wait,
                "seconds": statistics.median(way(number) for number in range(ROUNDS)),
                "aim, seconds": aim,
            }
            for wait, (aim, way) in waits.items()
        ]


if __name__ == "__main__":
    show("Waiting", rows())
