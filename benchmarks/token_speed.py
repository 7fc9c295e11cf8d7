"""How fast does text become a cache of token ids, beside datasets.map and datatrove's tokenizer?

python -m benchmarks.token_speed [MEGABYTES]

All read the same documents and use the same tokenizer (a BPE of 4096 pieces) and two cores: our store, a
batched Dataset.map with num_proc=2 that writes its Arrow cache, and datatrove's DocumentTokenizer in one process,
whose batches the tokenizer's own threads share. In turns, each round from nothing.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from revlm.cache import default_cache
from revlm.config import DataConfig
from revlm.data.corpus import load_corpus
from revlm.data.tokens import build_store, train_bpe

MEGABYTES, ROUNDS, PROCESSES, BATCH = 30.0, 3, 2, 1000


def with_revlm(dataset: Dataset, tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """Our store."""
    held_out = np.zeros(len(dataset), dtype=np.bool_)
    store = build_store(dataset, held_out, tokenizer, corpus_fingerprint="benchmark", cache_dir=folder)
    return len(store.ids)


def with_datasets(dataset: Dataset, tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """Dataset.map, as its guide shows it, without the columns that nobody needs."""

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        ids = tokenizer(batch["text"], add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return {"input_ids": ids, "length": [len(some) for some in ids]}

    mapped = dataset.map(
        encode,
        batched=True,
        batch_size=BATCH,
        num_proc=PROCESSES,
        remove_columns=dataset.column_names,
        cache_file_name=str(folder / "mapped.arrow"),
        load_from_cache_file=False,
    )
    return sum(mapped["length"])


def with_datatrove(dataset: Dataset, tokenizer: PreTrainedTokenizerFast, folder: Path) -> int:
    """DocumentTokenizer with its own batch size, without shuffling."""
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer

    path = folder / "tokenizer"
    tokenizer.save_pretrained(path)
    step = DocumentTokenizer(
        str(folder / "out"), str(path / "tokenizer.json"), save_final_metadata=False, shuffle_documents=False
    )
    documents = (Document(text=row["text"], id=row["doc_id"]) for row in dataset)
    step.run(documents)
    return sum(path.stat().st_size for path in (folder / "out").rglob("*.ds")) // step.token_size


WAYS: dict[str, Callable[[Dataset, PreTrainedTokenizerFast, Path], int]] = {
    "revlm": with_revlm,
    "datasets": with_datasets,
    "datatrove": with_datatrove,
}


def rows(megabytes: float = MEGABYTES, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Measure each way that is installed.

    Returns:
        One dict a way: way, text_mb, tokens, mb_per_second (median of the rounds), ratio (over the fastest peer).
    """
    config = DataConfig(domains=["bbc_news", "law", "biography"])
    whole = load_corpus(config, default_cache()).dataset.select_columns(["doc_id", "text"])
    sizes = np.cumsum([len(text.encode()) for text in whole["text"]])
    dataset = whole.select(range(min(len(whole), int(np.searchsorted(sizes, megabytes * 1e6)) + 1)))
    size = float(sizes[len(dataset) - 1]) / 1e6
    tokenizer = train_bpe(dataset["text"], 4096)
    ways = [way for way in WAYS if way != "datatrove" or importlib.util.find_spec(way)]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    tokens = dict.fromkeys(ways, 0)
    for _ in range(rounds):
        for way in ways:
            # Processes of datasets share the cores; the others' threads do.
            os.environ["TOKENIZERS_PARALLELISM"] = "false" if way == "datasets" else "true"
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                tokens[way] = WAYS[way](dataset, tokenizer, Path(folder))
                seconds[way].append(time.perf_counter() - started)
    speed = {way: size / statistics.median(values) for way, values in seconds.items()}
    fastest = max(value for way, value in speed.items() if way != "revlm")
    return [
        {
            "way": way,
            "text_mb": round(size, 1),
            "tokens": tokens[way],
            "mb_per_second": round(speed[way], 2),
            "ratio": round(speed[way] / fastest, 2),
        }
        for way in ways
    ]


def main(megabytes: float) -> None:
    """Measure and print a table."""
    print(f"{'way':10} {'text MB':>8} {'tokens':>12} {'MB/s':>7} {'ratio':>6}")
    for row in rows(megabytes):
        print(
            f"{row['way']:10} {row['text_mb']:>8} {row['tokens']:>12,} {row['mb_per_second']:>7} {row['ratio']:>6}"
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else MEGABYTES)
