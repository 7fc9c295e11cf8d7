"""How much sooner does the shipped run reach the loss that a bare AdamW loop ends at?

python -m benchmarks.time_to_loss

The bare loop reads the laptop's 1.5M tokens, forward and reverse mixed as revlm's stream gives them, in float32 with AdamW and a cosine
schedule, at five rates; its best end is the mark. The shipped run validates twenty times on the same held-out tokens; the seconds
of training until its mean loss is at or below the mark count, to which the bare loop's seconds are held. The rate is
chosen by the same held-out loss, which favours the peer. Finished runs are kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.turns import Row, show

ROOT = Path("runs/time_to_loss")
RATES = (1e-3, 2e-3, 3e-3, 5e-3, 8e-3)
BARE = ("optimizer.name=adamw", "trainer.precision=32-true", "trainer.compile=false", "budget.validations=1")


def record(name: str, *options: str) -> list[dict[str, float]]:
    """Validations of a run of the laptop's mixed model, run where it is not there yet."""
    run = ROOT / name
    if not (run / "summary.json").exists():
        print(f"training {name}", flush=True)
        given = (
            "+experiment=from_scratch_mixed",
            f"run.dir={run}",
            "ckpt_path=last",
            "logger.wandb=none",
            *options,
        )
        subprocess.run([sys.executable, "-m", "revlm.train", *given], check=True, stdout=subprocess.DEVNULL)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "val/nll_forward" in row]


def loss(row: dict[str, float]) -> float:
    """Mean of both directions."""
    return (row["val/nll_forward"] + row["val/nll_reverse"]) / 2


def rows(bare_seconds_per_token: float | None = None) -> list[Row]:
    """The bare loop's best end, and when the shipped run came there.

    Args:
        bare_seconds_per_token: of the bare loop, where it was timed beside the shipped run; None: revlm's own AdamW
            in float32, which is faster than the bare loop.
    """
    ends = {rate: record(f"adamw_{rate:g}", f"optimizer.lr={rate:g}", *BARE)[-1] for rate in RATES}
    rate, best = min(ends.items(), key=lambda item: loss(item[1]))
    summary = json.loads((ROOT / f"adamw_{rate:g}" / "summary.json").read_text())
    took = (
        summary["seconds"] if bare_seconds_per_token is None else bare_seconds_per_token * summary["tokens"]
    )
    shipped = record("shipped", "budget.validations=20")
    reached = next((row for row in shipped if loss(row) <= loss(best)), None)
    speed = json.loads((ROOT / "shipped" / "summary.json").read_text())["tokens_per_second"]
    seconds = None if reached is None else reached["tokens"] / speed
    return [
        {"way": f"bare AdamW loop, best of five rates ({rate:g})", "loss": loss(best), "tokens": summary["tokens"],
         "seconds": took, "ratio": 1.0},
        {"way": "revlm as shipped, at that loss", "loss": reached and loss(reached), "tokens": reached and reached["tokens"],
         "seconds": seconds, "ratio": seconds and took / seconds, "aim": 2.5},
        {"way": "revlm as shipped, at its end", "loss": loss(shipped[-1]), "tokens": shipped[-1]["tokens"],
         "seconds": shipped[-1]["tokens"] / speed},
    ]  # fmt: skip


if __name__ == "__main__":
    show("Time to the bare loop's loss", rows())
