"""What a finished run leaves: its summary, its exported model, a few texts it wrote."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from revlm import keys
from revlm.cache import write_atomically
from revlm.config import TrainConfig
from revlm.data.datamodule import TokenStreamDataModule
from revlm.data.tokens import num_ids, tokenizer_fingerprint
from revlm.direction import Direction
from revlm.measures.counted import counted_losses
from revlm.models.backbone import export
from revlm.models.generation import Passage, generate_ids
from revlm.training.modules import DirectionalLM
from revlm.training.throughput import usage

PACKAGES = ("revlm", "torch", "lightning", "transformers", "tokenizers", "datasets", "torchdata", "numpy")


def export_run(
    config: TrainConfig,
    data: TokenStreamDataModule,
    module: DirectionalLM,
    folder: Path,
    *,
    weights: dict[str, Any] | None = None,
) -> None:
    """model/: a transformers folder, with revlm.json for what transformers does not know.

    Args:
        config: the run's options.
        data: its corpus.
        module: its trained model.
        folder: its folder.
        weights: the module's whole state where the module itself holds shards only.
    """
    inside = {name.removeprefix("model."): value for name, value in (weights or {}).items()}
    export(
        module.model,
        data.tokenizer,
        folder / "model",
        {
            "name": config.name,
            "arm": config.arm,
            "seed": config.seed,
            "language": config.data.language,
            "directions": [direction.value for direction in module.directions],
            "window": data.layout.window,
            "tag": config.direction.tag,
            "granularity": config.data.granularity.value,
            "segment_tokens": config.data.segment_tokens,
            "corpus_fingerprint": data.corpus.fingerprint,
            "store_fingerprint": data.store.fingerprint,
            "tokenizer_fingerprint": tokenizer_fingerprint(data.tokenizer),
            "tokens": data.num_steps * data.tokens_per_step,
        },
        weights=inside or None,
    )


def write_summary(
    config: TrainConfig,
    data: TokenStreamDataModule,
    module: DirectionalLM,
    folder: Path,
    *,
    trainer: L.Trainer,
) -> dict[str, Any]:
    """summary.json, whose presence says that the run is finished.

    Args:
        config: the run's options.
        data: its corpus.
        module: its trained model.
        folder: its folder, with metrics.jsonl.
        trainer: that trained it, which knows what it cost.

    Returns:
        What the file holds.
    """
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validations = [row for row in rows if keys.VAL_NLL_FORWARD in row]
    start, end = validations[0], validations[-1]
    tokens = data.num_steps * data.tokens_per_step
    # What training took is read off before anything else takes memory.
    cost = usage(trainer, tokens=tokens, flops_per_token=module.flops_per_token)
    summary = {
        "name": config.name,
        "seed": config.seed,
        "module": config.direction.module.value,
        "nll_forward": end[keys.VAL_NLL_FORWARD],
        "nll_reverse": end[keys.VAL_NLL_REVERSE],
        "s": end[keys.VAL_NLL_FORWARD] - end[keys.VAL_NLL_REVERSE],
        "gap": end[keys.VAL_GAP],
        "relative_gap": end[keys.VAL_RELATIVE_GAP],
        "start_nll_forward": start[keys.VAL_NLL_FORWARD],
        "start_nll_reverse": start[keys.VAL_NLL_REVERSE],
        "counted_nll": counted_losses(data.train_stream, data.val_streams, num_ids(data.tokenizer)),
        "tokens": tokens,
        "steps": data.num_steps,
        **cost,
        "parameters": module.model.num_parameters(),
        "window": data.layout.window,
        "vocab_size": len(data.tokenizer),
        "num_train_documents": int((~data.store.held_out).sum()),
        "num_val_documents": data.val_streams[0].num_documents,
        "skipped": data.corpus.skipped | data.store.skipped,
        "read": data.corpus.read,
        "language": config.data.language,
        "corpus_fingerprint": data.corpus.fingerprint,
        "versions": versions(),
        "commit": commit(),
    }
    write_atomically(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def write_samples(
    config: TrainConfig, data: TokenStreamDataModule, module: DirectionalLM, folder: Path
) -> list[tuple[str, str]]:
    """Held-out texts continued in each of the model's directions, also as samples.txt.

    Forward writes on from a window's beginning, reverse writes what comes before its end; the
    given part stands in [brackets].
    """
    windows = data.val_streams[0].windows
    samples = []
    for item in range(min(config.logger.samples, len(windows))):
        ids = data.store.document(windows.doc[item])[: data.layout.window].astype(np.int64)
        length = min(len(ids), data.layout.window // 4)
        for direction in module.directions:
            given = ids[:length] if direction is Direction.FORWARD else ids[-length:]
            (written,) = generate_ids(
                module.model,
                data.layout,
                [given],
                direction=direction,
                num_tokens=data.layout.window // 4,
                seeds=[item],
            )
            prompt, text = (str(data.tokenizer.decode(part.tolist())) for part in (given, written))
            samples.append((direction.value, Passage(prompt, text, direction).marked))
    write_atomically(folder / "samples.txt", "".join(f"{d}: {text}\n\n" for d, text in samples))
    return samples


def versions() -> dict[str, str]:
    """Versions of what numbers depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def commit() -> str | None:
    """Commit of the checkout that runs, with -dirty where files differ; None outside of one."""
    package = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        return said.stdout.strip()

    try:
        # A package installed below somebody else's repository is not part of it.
        if Path(git("rev-parse", "--show-toplevel")) != package.parent:
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
