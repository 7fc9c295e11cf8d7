"""Does memory stay flat? As a corpus grows, for one document of 10 MB, and for a vocabulary of 256k.

python -m benchmarks.memory_peaks [MEGABYTES_OF_CORPUS ...]

Each case runs in a process of its own.

corpus      JSONL made of the sample's real documents, each copy salted so that none is a duplicate, is prepared as
            training does: read, check, deduplicate, split, train the BPE, tokenise, map.
document    real text as one single document of so many megabytes is scored by a small model with random weights.
vocabulary  0.05 MB of text is scored under a vocabulary of 256,000, with a plain head and with soft-capped logits
            (capped), whose head is no plain product. All logits of one batch of 1024 tokens would take 1,049 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.memory import Peak
from benchmarks.scoring_speed import DATA
from revlm.cache import default_cache
from revlm.config import (
    BudgetConfig,
    CorpusConfig,
    CurvesConfig,
    DataConfig,
    DirectionConfig,
    ModelConfig,
    ScoreConfig,
    Source,
    TokenizerConfig,
)
from revlm.data.corpus import load_corpus
from revlm.data.datamodule import TokenStreamDataModule
from revlm.data.tokens import tokenizer_fingerprint, train_bpe
from revlm.models.backbone import export, from_config
from revlm.scores.merge import merge
from revlm.scores.shards import Job, ShardedScores, score_here

CORPORA, DOCUMENTS = (100.0, 1000.0, 4000.0), (1.0, 10.0)
# Of the text that is scored under a large vocabulary.
LITTLE = 0.05
LARGE_VOCABULARY = 256_000
# What is measured grows with text and vocabulary, not with the body.
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "tie_word_embeddings": True,
}
CAPPED = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 257,
}


def rows(
    corpora: tuple[float, ...] = CORPORA, documents: tuple[float, ...] = DOCUMENTS, *, large: bool = True
) -> list[dict[str, Any]]:
    """Measure each case.

    Args:
        corpora: megabytes of the corpora that are prepared.
        documents: megabytes of the single documents that are scored.
        large: measure vocabularies of 256,000 as well.

    Returns:
        One dict a case: case, text_mb, tokens, seconds, peak_mb (anonymous memory: what a machine needs, since
        mapped files can be dropped), idle_mb (of a process that has only its libraries).
    """
    cases = [("corpus", size) for size in corpora] + [("document", size) for size in documents]
    cases += [("vocabulary", LITTLE), ("capped", LITTLE)] if large else []
    return [_row(case, size) for case, size in cases]


def _row(case: str, megabytes: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if case == "corpus":
            write_corpus(folder / "corpus.jsonl", megabytes)
        else:
            texts = list(load_corpus(DATA, default_cache()).dataset["text"])
            make_model(folder / "model", texts, case)
            write_document(folder / "text.txt", texts, megabytes)
        command = [sys.executable, "-m", "benchmarks.memory_peaks", "--measure", case, name]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"case": case, "text_mb": megabytes} | json.loads(said.splitlines()[-1])


def write_corpus(path: Path, megabytes: float) -> None:
    """At least so many megabytes of real documents with a salt each."""
    dataset = load_corpus(DataConfig(domains=["bbc_news", "law", "biography"]), default_cache()).dataset
    written, copy = 0, 0
    with path.open("w") as file:
        while written < megabytes * 1_000_000:
            for row in dataset:
                text = f"{row['text']} {copy:x}{row['doc_id']}"
                file.write(json.dumps({"text": text}) + "\n")
                written += len(text.encode())
            copy += 1


def write_document(path: Path, texts: list[str], megabytes: float) -> None:
    """So many megabytes of real text in one file."""
    wanted, everything = int(megabytes * 1_000_000), "\n\n".join(texts)
    text = (everything * (wanted // len(everything) + 1)).encode()[:wanted].decode(errors="ignore")
    path.write_text(text)


def make_model(folder: Path, texts: list[str], case: str) -> None:
    """A model of the case, exported."""
    tokenizer = train_bpe(texts, 4096)
    torch.manual_seed(0)
    if case == "capped":
        config = AutoConfig.for_model("gemma2", vocab_size=LARGE_VOCABULARY, **CAPPED)
        model = AutoModelForCausalLM.from_config(config)
    else:
        large = {"vocab_size": LARGE_VOCABULARY} if case == "vocabulary" else {}
        model = from_config(ModelConfig(config=SHAPE | large), tokenizer, 257)
    facts = {"directions": ["forward", "reverse"], "window": 256}
    export(model, tokenizer, folder, facts | {"tokenizer_fingerprint": tokenizer_fingerprint(tokenizer)})


def prepare(folder: Path) -> int:
    """What training does before its first step; returns how many tokens there are."""
    data = TokenStreamDataModule(
        DataConfig(source=Source.files, path=str(folder / "corpus.jsonl")),
        tokenizer=TokenizerConfig(max_bytes=20_000_000),
        direction=DirectionConfig(),
        budget=BudgetConfig(tokens=1_000_000),
        seed=0,
        cache_dir=folder / "cache",
    )
    data.open()
    data.setup("fit")
    assert data.train_stream[0]["input_ids"].ndim == len(("rows", "tokens"))
    return len(data.store.ids)


def score(folder: Path) -> int:
    """Score the text of a folder with its model; returns how many tokens it has."""
    config = ScoreConfig(
        data=CorpusConfig(source=Source.files, path=str(folder / "text.txt")),
        curves=CurvesConfig(resamples=200),
    )
    config.cache.dir = str(folder / "cache")
    scores = ShardedScores(Job(config, str(folder / "model"), None, folder / "run"))
    score_here(scores, scores.missing())
    return int(merge(scores, {})["num_tokens"])


def measure(case: str, folder: Path) -> None:
    """Run one case in this process and print it as a line of JSON."""
    with Peak() as idle:
        torch.zeros(1)
    with Peak() as peak:
        tokens = prepare(folder) if case == "corpus" else score(folder)
    row = {"tokens": tokens, "seconds": round(peak.seconds, 1), "peak_mb": peak.anonymous_mb}
    print(json.dumps(row | {"idle_mb": idle.anonymous_mb}))


def main(sizes: list[float]) -> None:
    """Measure each case and print a table."""
    print(f"{'case':12} {'text MB':>8} {'tokens':>13} {'seconds':>8} {'anonymous MB':>13} {'before MB':>10}")
    for row in rows(tuple(sizes) or CORPORA):
        print(
            f"{row['case']:12} {row['text_mb']:>8} {row['tokens']:>13,} {row['seconds']:>8} {row['peak_mb']:>13} "
            f"{row['idle_mb']:>10}",
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main([float(size) for size in sys.argv[1:]])
