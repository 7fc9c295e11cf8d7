"""How fast are both losses, beside lm-eval and a plain loop, and of what the machine can do?

python -m benchmarks.scoring_speed [MODEL]

One model (1.3M parameters with random weights unless MODEL names one), the same real documents.
Ways take turns, so that a machine whose speed drifts is fair to all:

- revlm: `Scorer.token_losses`, both directions; tokens of both are counted.
- lm-eval: `HFLM.loglikelihood_rolling`, one direction, at the best of several batch sizes.
- a plain loop: one window at a time in either direction, all logits, log_softmax.

Then whole runs over shards: this process, and two local workers, from the first shard to the last.
Prints tokens/s, ratios (medians of rounds) and the share of this machine's sgemm peak.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from revlm.cache import default_cache
from revlm.config import CorpusConfig, CurvesConfig, Executor, ModelConfig, ScoreConfig
from revlm.data.corpus import load_corpus
from revlm.data.tokens import TokenIds, encode, tokenizer_fingerprint, train_bpe
from revlm.direction import Direction
from revlm.integrations import executors
from revlm.measures.scoring import Scorer
from revlm.models.backbone import export, from_config
from revlm.scores.shards import Job, ShardedScores, score_here

SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "tie_word_embeddings": True,
}
ROUNDS, DOCUMENTS = 5, 60
DATA = CorpusConfig(domains=["bbc_news", "wikipedia", "finance", "law"], max_bytes_per_domain=250_000)
# A minute's work, beside which the seconds that workers take to start are few.
RUN_DATA = CorpusConfig(domains=DATA.domains, max_bytes_per_domain=1_500_000)
LM_EVAL_BATCHES = (1, 8, 32)


def make_model(folder: Path, texts: list[str]) -> str:
    """The laptop's shape with random weights: speed does not depend on what it learned."""
    tokenizer = train_bpe(texts, 4096)
    torch.manual_seed(0)
    model = from_config(ModelConfig(config=dict(SHAPE)), tokenizer, 257)
    facts = {"directions": ["forward", "reverse"], "window": 256}
    export(model, tokenizer, folder, facts | {"tokenizer_fingerprint": tokenizer_fingerprint(tokenizer)})
    return str(folder)


def sgemm_peak() -> float:
    """Floating-point operations a second of a large matrix product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    times = []
    for _ in range(6):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    return 2 * 2048**3 / min(times)


def count_flops(scorer: Scorer) -> float:
    """Floating-point operations of products, a token of a full window; the counter sees one thread."""
    ids = torch.full((1, scorer.layout.row_length), scorer.layout.bos)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        scorer.losses[Direction.FORWARD].token_nll(ids, ids)
    return counter.get_total_flops() / scorer.layout.window


def plain_loop(scorer: Scorer, ids: TokenIds) -> None:
    """What one would write first."""
    model, window = scorer.models[Direction.FORWARD].model, scorer.layout.window
    for index in range(len(ids)):
        document = ids.document(index)
        for start in range(0, len(document), window):
            for step in (1, -1):
                body = torch.from_numpy(document[start : start + window][::step].copy())
                row = torch.cat((torch.tensor([scorer.layout.bos]), body))[None]
                with torch.inference_mode():
                    logits = model(row, use_cache=False).logits[0, :-1]
                    logits.float().log_softmax(-1).gather(1, body[:, None])


def lm_eval_rolling(scorer: Scorer, texts: list[str], batch_size: int) -> Callable[[], None]:
    """lm-eval over the same windows, one direction."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = scorer.models[Direction.FORWARD]
    model = HFLM(
        pretrained=lm.model,
        tokenizer=lm.tokenizer,
        batch_size=batch_size,
        max_length=lm.layout.window,
        device="cpu",
    )
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]

    def run() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            model.loglikelihood_rolling(requests, disable_tqdm=True)

    return run


def compare(model: str, texts: list[str]) -> None:
    """All ways in turn over the same documents."""
    scorer = Scorer.open(model)
    ids = encode(scorer.tokenize, texts)
    tokens = int(ids.lengths.sum())
    names = [""] * len(ids)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "revlm, both directions": (2, lambda: scorer.token_losses(ids, names)),
        "plain loop, both directions": (2, lambda: plain_loop(scorer, ids)),
    }
    for size in LM_EVAL_BATCHES:
        ways[f"lm-eval rolling, forward, batch {size}"] = (1, lm_eval_rolling(scorer, texts, size))
    flops_per_token = count_flops(scorer)
    peak = sgemm_peak()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, (_, way) in ways.items():
            started = time.perf_counter()
            way()
            # The first round warms up.
            if round_:
                seconds[name].append(time.perf_counter() - started)
    threads = torch.get_num_threads()
    print(f"{tokens:,} tokens in {len(ids)} documents, {threads} thread(s), sgemm {peak / 1e9:.0f} GFLOP/s")
    print(f"{'way':36} {'tokens/s':>9} {'revlm is x times':>17} {'of sgemm peak':>14}")
    ours = seconds["revlm, both directions"]
    for name, (directions, _) in ways.items():
        ratio = statistics.median(t / directions / (o / 2) for o, t in zip(ours, seconds[name], strict=True))
        speed = directions * tokens / statistics.median(seconds[name])
        print(f"{name:36} {speed:>9,.0f} {ratio:>17.2f} {speed * flops_per_token / peak:>14.2f}")


def runs(model: str, folder: Path) -> None:
    """Whole runs over shards, in one process and in two."""
    for name, workers in (("this process", 1), ("two local workers", 2)):
        config = ScoreConfig(data=RUN_DATA, curves=CurvesConfig(resamples=0))
        config.cache.dir = str(default_cache())
        job = Job(config, model, None, Path(tempfile.mkdtemp(dir=folder)))
        scores = ShardedScores(job)
        todo, started = scores.missing(), time.perf_counter()
        tokens = 2 * sum(map(scores.num_tokens, todo))
        with contextlib.redirect_stderr(io.StringIO()):
            if workers == 1:
                score_here(scores, todo)
            else:
                executors.score_by_workers(scores, todo, Executor.local, workers)
        seconds = time.perf_counter() - started
        print(f"{name:36} {tokens / seconds:>9,.0f} tokens/s, {tokens:,} tokens, starts included")


def main(model: str | None) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = load_corpus(DATA, default_cache()).dataset
        texts = list(dataset["text"])
        model = model or make_model(folder / "model", texts)
        chosen = np.random.default_rng(0).permutation(len(texts))[:DOCUMENTS]
        compare(model, [texts[i] for i in chosen])
        runs(model, folder)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    main(sys.argv[1] if len(sys.argv) > 1 else None)
