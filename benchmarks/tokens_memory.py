"""Does memory stay flat as a corpus grows? Corpus and token store of 100 MB and 1 GB of text.

python -m benchmarks.tokens_memory [MEGABYTES ...]

Writes JSONL made of the sample's real documents, each copy salted so that none is a duplicate, and
prepares it in a process of its own, as training does: read, check, deduplicate, split, train the
BPE, tokenise, map. Prints each process's peak resident memory, its anonymous part (what a
machine needs; mapped files can be dropped), and seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.memory import Peak
from revlm.config import BudgetConfig, DataConfig, DirectionConfig, Source, TokenizerConfig
from revlm.data.corpus import load_corpus
from revlm.data.datamodule import TokenStreamDataModule


def write_corpus(path: Path, megabytes: int, cache: Path) -> None:
    """At least so many megabytes of real documents with a salt each."""
    dataset = load_corpus(DataConfig(domains=["bbc_news", "law", "biography"]), cache).dataset
    written, copy = 0, 0
    with path.open("w") as file:
        while written < megabytes * 1_000_000:
            for row in dataset:
                text = f"{row['text']} {copy:x}{row['doc_id']}"
                file.write(json.dumps({"text": text}) + "\n")
                written += len(text.encode())
            copy += 1


def prepare(path: Path, cache: Path) -> None:
    """What training does before its first step; prints one line of JSON."""
    with Peak() as peak:
        data = TokenStreamDataModule(
            DataConfig(source=Source.files, path=str(path)),
            tokenizer=TokenizerConfig(max_bytes=20_000_000),
            direction=DirectionConfig(),
            budget=BudgetConfig(tokens=1_000_000),
            seed=0,
            cache_dir=cache,
        )
        data.open()
        data.setup("fit")
        first = data.train_stream[0]["input_ids"].shape
    line = {
        "tokens": len(data.store.ids),
        "documents": len(data.store),
        "seconds": round(peak.seconds, 1),
        "peak_mb": peak.resident_mb,
        "peak_anonymous_mb": peak.anonymous_mb,
        "first_batch": list(first),
    }
    print(json.dumps(line))


def main(sizes: list[int]) -> None:
    """Prepare each size and print a table."""
    print(
        f"{'text MB':>8} {'documents':>10} {'tokens M':>9} {'seconds':>8} {'peak MB':>8} {'anonymous MB':>13}"
    )
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path, cache = Path(folder) / "corpus.jsonl", Path(folder) / "cache"
            write_corpus(path, megabytes, cache)
            command = [sys.executable, "-m", "benchmarks.tokens_memory", "--prepare", str(path), str(cache)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row = json.loads(said.splitlines()[-1])
            print(
                f"{megabytes:>8} {row['documents']:>10,} {row['tokens'] / 1e6:>9.1f} {row['seconds']:>8} "
                f"{row['peak_mb']:>8} {row['peak_anonymous_mb']:>13}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        prepare(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main([int(size) for size in sys.argv[1:]] or [100, 1000])
