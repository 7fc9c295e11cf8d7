"""What bfloat16 costs S: the same model trained and scored in float32 and bfloat16, beside the noise of seeds.

python -m benchmarks.bfloat16 [SEEDS]

Trains the laptop's mixed model for each seed in float32, in bfloat16, and in float32 with other rounding (compiled), which
shows how far apart two runs come that differ by rounding alone. Scores the held-out documents of the sample with each
in float32, and with the float32 model in bfloat16 too. Prints errors of S a document; finished runs are kept and not run again.
Needs a processor with matrix units for bfloat16, and some 25 minutes there.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyarrow import parquet

from benchmarks.turns import Row, show

ROOT = Path("runs/bfloat16")
TRAININGS = {
    "float32": ("trainer.precision=32-true", "trainer.compile=false"),
    "rounding": ("trainer.precision=32-true", "trainer.compile=true"),
    "bfloat16": ("trainer.precision=bf16-mixed", "trainer.compile=false"),
}
Scores = npt.NDArray[np.float64]


def command(*arguments: str) -> None:
    """Run one of revlm's commands."""
    subprocess.run([sys.executable, "-m", *arguments], check=True, stdout=subprocess.DEVNULL)


def trained(kind: str, seed: int) -> Path:
    """The model of a training, run where it is not there yet."""
    run = ROOT / f"{kind}_{seed}"
    if not (run / "summary.json").exists():
        print(f"training {run.name}", flush=True)
        options = (*TRAININGS[kind], f"seed={seed}", f"run.dir={run}", "ckpt_path=last", "logger.wandb=none")
        command("revlm.train", "+experiment=from_scratch_mixed", *options)
    return run / "model"


def scored(kind: str, seed: int, precision: str) -> Scores:
    """(2, D) S and forward loss of the held-out documents, scored where they are not yet."""
    run = ROOT / f"{kind}_{seed}_{precision}"
    if not (run / "scores.parquet").exists():
        print(f"scoring {run.name}", flush=True)
        data = ("data=sample", "data.part=held_out", "data.max_bytes_per_domain=150000", "curves.resamples=0")
        command(
            "revlm.score", f"model={trained(kind, seed)}", f"model.precision={precision}", *data, f"run.dir={run}",
            "logger.wandb=none",
        )  # fmt: skip
    table = parquet.read_table(run / "scores.parquet", columns=["s", "nll_forward"])
    return np.stack([table["s"].to_numpy(), table["nll_forward"].to_numpy()])


def difference(name: str, pairs: list[tuple[Scores, Scores]], noise: float) -> Row:
    """How S of the same documents differs within pairs of scorings.

    Args:
        name: of the comparison.
        pairs: two scorings of the same documents each.
        noise: SD of S of a document over seeds.
    """
    apart = np.stack([other[0] - one[0] for one, other in pairs])
    losses = np.stack([other[1] - one[1] for one, other in pairs])
    # Two draws of the same noise differ by its SD times the root of two.
    sd = float(np.sqrt((apart**2).mean() / 2)) if name.startswith("two seeds") else float(apart.std())
    return {
        "comparison": name,
        "mean of S": float(apart.mean()),
        "SD of S": sd,
        "r": float(np.mean([np.corrcoef(one[0], other[0])[0, 1] for one, other in pairs])),
        "of the seeds' noise": sd / noise,
        "mean of the forward loss": float(losses.mean()),
        "documents": apart.shape[1],
    }


def rows(seeds: int = 3) -> list[Row]:
    """Seeds' noise first, then what rounding, training and scoring in bfloat16 add."""
    numbers = range(seeds)
    plain = [scored("float32", seed, "float32") for seed in numbers]
    noise = float(np.stack([scores[0] for scores in plain]).std(axis=0, ddof=1).mean())
    against = {
        "scored in bfloat16": [scored("float32", seed, "bfloat16") for seed in numbers],
        "trained in float32 with other rounding": [scored("rounding", seed, "float32") for seed in numbers],
        "trained in bfloat16": [scored("bfloat16", seed, "float32") for seed in numbers],
        "trained and scored in bfloat16": [scored("bfloat16", seed, "bfloat16") for seed in numbers],
    }
    found = [difference("two seeds, float32", list(combinations(plain, 2)), noise)]
    for name, others in against.items():
        found.append(difference(name, list(zip(plain, others, strict=True)), noise))
    return found


if __name__ == "__main__":
    show("bfloat16", rows(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
