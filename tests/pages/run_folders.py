"""Run folders as training leaves them, from planted numbers."""

import csv
import json
from pathlib import Path

import numpy as np
import yaml

SHARE = {"forward": 0.0, "reverse": 1.0, "mixed": 0.5}


def write_run(
    folder: Path,
    *,
    module: str = "mixed",
    seed: int = 0,
    name: str | None = None,
    tokens: int = 1_500_000,
    window: int = 256,
    forward: float = 4.3,
    reverse: float = 4.31,
    position: int | None = 12,
    low: int | None = 9,
    high: int | None = 20,
    language: str = "en",
    fingerprint: str = "3fa2c1d09b7e4455",
    options: dict | None = None,
) -> Path:
    """A finished run whose last validation is `forward` and `reverse` nats."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    name = name or f"from_scratch_{module}"
    config = {
        "name": name,
        "seed": seed,
        "ckpt_path": None,
        "direction": {"module": module, "reverse_ratio": SHARE[module], "tag": False},
        "init": {"kind": "scratch", "path": None},
        "data": {"source": "sample", "language": language, "window": window, "num_workers": 0},
        "tokenizer": {"path": None, "vocab_size": 4096},
        "model": {"name": "llama_1m", "type": "llama", "config": {"hidden_size": 128}},
        "optimizer": {"name": "adamw", "lr": 0.003},
        "budget": {"tokens": tokens, "batch_size": 8, "micro_batch_size": None, "validations": 8},
        "trainer": {"accelerator": "cpu", "precision": "32-true"},
        "curves": {"smoothing": 9, "hold": 8, "resamples": 1000, "seed": 0},
        "run": {"dir": folder.name},
    }
    for key, value in (options or {}).items():
        group, option = key.split(".")
        config[group][option] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    steps = max(9, tokens // 2056)
    _metrics(folder / "metrics.jsonl", rng, steps, tokens, forward, reverse, position, SHARE[module])
    _curves(folder, rng, steps, window, forward, reverse, position)
    crossing = {
        "position": position, "low": low, "high": high, "share_never": 1.0 if position is None else 0.03,
        "rule": "first position from which the smoothed reverse curve stays at or below the forward curve",
        "smoothing": 9, "hold": 8, "resamples": 1000, "num_documents": 300, "window": window,
    }  # fmt: skip
    (folder / "intersection.json").write_text(json.dumps({"all": crossing, "first": crossing}))
    summary = {
        "name": name, "seed": seed, "module": module, "nll_forward": forward, "nll_reverse": reverse,
        "gap": reverse - forward, "relative_gap": (reverse - forward) / forward,
        "start_nll_forward": 8.32, "start_nll_reverse": 8.33, "tokens": tokens, "steps": steps,
        "seconds": 300.0, "tokens_per_second": tokens / 300, "parameters": 1_000_000, "window": window,
        "vocab_size": 4096, "num_val_documents": 300, "language": language,
        "corpus_fingerprint": fingerprint, "versions": {"torch": "2.13.0"}, "commit": "0" * 40,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def _metrics(path, rng, steps, tokens, forward, reverse, position, share):
    rows = []
    validate = {round(steps * k / 8) for k in range(9)}
    for step in range(steps + 1):
        read = round(tokens * step / steps)
        done = (1 - np.exp(-5 * step / steps)) / (1 - np.exp(-5))
        if step and step % 10 == 0:
            nll = 8.32 + done * ((1 - share) * forward + share * reverse - 0.15 - 8.32) + rng.normal(0, 0.12)
            rows.append({"step": step, "tokens": read, "train/nll": nll, "train/lr": 1e-3,
                         "train/grad_norm": 1.0, "train/tokens_per_second": 5000.0})  # fmt: skip
        if step in validate:
            ends = {"forward": 8.32 + done * (forward - 8.32), "reverse": 8.33 + done * (reverse - 8.33)}
            rows.append({"step": step, "tokens": read, "val/nll_forward": ends["forward"],
                         "val/nll_reverse": ends["reverse"], "val/gap": ends["reverse"] - ends["forward"],
                         "val/relative_gap": ends["reverse"] / ends["forward"] - 1,
                         "intersection/position": position, "intersection/low": None,
                         "intersection/high": None, "intersection/share_never": 0.0})  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _curves(folder, rng, steps, window, forward, reverse, position):
    at = np.arange(window)
    shape = 3.0 * (at + 1.0) ** -0.9
    cross = window * 4 if position is None else position
    drift = 0.25 * np.tanh(np.log((cross + 1.0) / (at + 1.0)))
    count = np.maximum(4, (900 * np.exp(-at / max(1, window))).astype(int))
    for file, noise in (("curves.csv", 0.05), ("curves_first.csv", 0.09)):
        with (folder / file).open("w", newline="") as handle:
            rows = csv.writer(handle)
            rows.writerow(["step", "direction", "position", "nll", "count"])
            for step, level in ((0, 8.0), (steps, 0.0)):
                for direction, end, sign in (("forward", forward, -0.5), ("reverse", reverse, 0.5)):
                    nll = level or end + shape + sign * drift + rng.normal(0, noise, window)
                    nll = np.broadcast_to(nll, (window,))
                    rows.writerows([step, direction, i, nll[i], count[i]] for i in at)
    with (folder / "curves_interval.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["step", "direction", "position", "low", "high"])
        for direction, end, sign in (("forward", forward, -0.5), ("reverse", reverse, 0.5)):
            middle = end + shape + sign * drift
            rows.writerows([steps, direction, i, middle[i] - 0.1, middle[i] + 0.1] for i in at)
