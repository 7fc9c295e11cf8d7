"""Does a command take as long as its estimate says?

python -m benchmarks.cost_model [SHARE]

Six configurations, of training and of scoring. Each is estimated by its own command with estimate=true and
then run as it stands, in a process of its own; whole seconds count, imports and pictures too. Text is prepared
before, since an estimate that has to guess the length of a text says so. SHARE (1) makes budgets smaller, to
see that it works: what is left then is mostly overhead.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from revlm.composition import compose, declared
from revlm.scores.opened import Opened
from revlm.sources import known_model
from revlm.training.build import build_datamodule

TRAINING = {
    "train 1.3M forward": ["+experiment=from_scratch_forward"],
    "train 1.3M mixed": ["+experiment=from_scratch_mixed"],
    "train 4.2M mixed": ["+experiment=from_scratch_mixed", "model=llama_4m"],
    "train 1.3M mixed, window 512": ["+experiment=from_scratch_mixed", "data.window=512"],
}
TRAIN_TOKENS = 200_000
# model -> bytes of each of thirteen domains: some 300,000 and some 10,000 tokens
SCORING = {"score 1.3M": 85_000, "score SmolLM2": 4_000}
# An estimate is right within this share.
CLOSE = 0.2


def rows(share: float = 1.0) -> list[dict[str, Any]]:
    """A row a configuration: name, predicted and measured seconds, and their ratio.

    Args:
        share: of the budgets, at most 1.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), []
        for what, options in TRAINING.items():
            budget = [
                f"budget.tokens={int(TRAIN_TOKENS * share)}",
                "budget.validations=4",
                "data.max_val_tokens=20_000",
            ]
            command = [*options, *budget, "trainer.progress_bar=false"]
            build_datamodule(declared("train", compose("train", command))).open()
            found.append(compare(what, "train", command, folder / f"run{len(found)}"))
        models = {"score 1.3M": str(folder / "run0" / "model"), "score SmolLM2": "smollm2"}
        for what, size in SCORING.items():
            command = [
                f"model={models[what]}",
                "data=sample",
                f"data.max_bytes_per_domain={max(2_000, int(size * share))}",
            ]
            overrides = [command[0].replace("model=", "model.path="), *command[1:]]
            Opened.open(
                declared("score", compose("score", overrides)),
                known_model(models[what]),
                None,
                shortest="min_tokens",
            )
            found.append(compare(what, "score", command, folder / f"run{len(found)}"))
    return found


def compare(what: str, command: str, options: list[str], folder: Path) -> dict[str, Any]:
    """Estimate a command, run it, and set both beside each other."""
    said = run(command, [*options, "estimate=true"])
    predicted = float(re.search(r"\| whole +\| ([\d,.]+)", said)[1].replace(",", ""))
    started = time.perf_counter()
    run(command, [*options, f"run.dir={folder}"])
    measured = time.perf_counter() - started
    return {"what": what, "predicted": predicted, "measured": measured, "ratio": predicted / measured}


def run(command: str, options: list[str]) -> str:
    """What a command prints."""
    line = [sys.executable, "-m", f"revlm.{command}", *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}\n{done.stderr}")
    return done.stdout


def main(share: float) -> None:
    """Print the table."""
    print(f"{'command':30} {'predicted s':>12} {'measured s':>11} {'ratio':>6}")
    for row in rows(share):
        close = "" if abs(row["ratio"] - 1) <= CLOSE else "  more than 20% off"
        print(
            f"{row['what']:30} {row['predicted']:>12.1f} {row['measured']:>11.1f} {row['ratio']:>6.2f}{close}"
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 1.0)
