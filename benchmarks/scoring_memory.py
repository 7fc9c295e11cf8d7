"""Does memory depend on the batch alone? One document of 10 MB, and a vocabulary of 256k.

python -m benchmarks.scoring_memory [MEGABYTES ...]

Each case is scored in a process of its own, by a small model with random weights: real text as one
single document of so many megabytes, and 0.05 MB of text under a vocabulary of 256,000, first with a
plain head and then with soft-capped logits, whose head is no plain product. All logits of one batch
of 1024 tokens at that vocabulary would take 1,049 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.memory import Peak
from benchmarks.scoring_speed import DATA
from revlm.cache import default_cache
from revlm.config import CorpusConfig, CurvesConfig, ModelConfig, ScoreConfig, Source
from revlm.data.corpus import load_corpus
from revlm.data.tokens import tokenizer_fingerprint, train_bpe
from revlm.models.backbone import export, from_config
from revlm.scores.merge import merge
from revlm.scores.shards import Job, ShardedScores, score_here

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


def measure(folder: Path) -> None:
    """Score the text of a folder with its model, prepared in this process, and print one line."""
    config = ScoreConfig(
        data=CorpusConfig(source=Source.files, path=str(folder / "text.txt")),
        curves=CurvesConfig(resamples=200),
    )
    config.cache.dir = str(folder / "cache")
    with Peak() as idle:
        torch.zeros(1)
    with Peak() as peak:
        scores = ShardedScores(Job(config, str(folder / "model"), None, folder / "run"))
        score_here(scores, scores.missing())
        summary = merge(scores, {})
    row = {"tokens": summary["num_tokens"], "seconds": peak.seconds, "peak": peak.anonymous_mb}
    print(json.dumps(row | {"idle": idle.anonymous_mb}))


def main(sizes: list[float]) -> None:
    """Measure each case and print a table."""
    dataset = load_corpus(DATA, default_cache()).dataset
    texts = list(dataset["text"])
    everything = "\n\n".join(texts)
    cases = [("document", size) for size in sizes] + [("vocabulary", 0.05), ("capped", 0.05)]
    print(f"{'case':12} {'text MB':>8} {'tokens':>10} {'seconds':>8} {'anonymous MB':>13} {'before MB':>10}")
    for case, megabytes in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_model(folder / "model", texts, case)
            wanted = int(megabytes * 1_000_000)
            text = (everything * (wanted // len(everything) + 1)).encode()[:wanted].decode(errors="ignore")
            (folder / "text.txt").write_text(text)
            command = [sys.executable, "-m", "benchmarks.scoring_memory", "--measure", name]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row = json.loads(said.splitlines()[-1])
            print(
                f"{case:12} {megabytes:>8} {row['tokens']:>10,} {row['seconds']:>8.0f} {row['peak']:>13} {row['idle']:>10}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        main([float(size) for size in sys.argv[1:]] or [1, 10])
