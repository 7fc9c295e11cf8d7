"""How fast are both losses, beside lm-eval and a plain loop?

python -m benchmarks.scoring_speed

1.3M parameters with random weights and SmolLM2, the same real documents. Ways take turns, so that a machine whose speed
drifts is fair to all:

- revlm: `Scorer.token_losses`, both directions; tokens of both are counted. In float32, and in bfloat16 where there are units for it.
- lm-eval: `HFLM.loglikelihood_rolling`, one direction, at the best of several batch sizes.
- a plain loop: one window at a time in either direction, all logits, log_softmax.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.turns import Row, show, take_turns, times_faster
from revlm.cache import default_cache
from revlm.config import CorpusConfig, ModelConfig, ModelSource
from revlm.data.corpus import load_corpus
from revlm.data.tokens import TokenIds, encode, tokenizer_fingerprint, train_bpe
from revlm.direction import Direction
from revlm.measures.scoring import Scorer
from revlm.models.backbone import export, from_config
from revlm.models.precision import has_bfloat16_units

SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "tie_word_embeddings": True,
}
ROUNDS, DOCUMENTS, FEW = 5, 60, 6
DATA = CorpusConfig(domains=["bbc_news", "wikipedia", "finance", "law"], max_bytes_per_domain=250_000)
LM_EVAL_BATCHES = (1, 8, 32)


def make_model(folder: Path, texts: list[str]) -> str:
    """The laptop's shape with random weights: speed does not depend on what it learned."""
    tokenizer = train_bpe(texts, 4096)
    torch.manual_seed(0)
    model = from_config(ModelConfig(config=dict(SHAPE)), tokenizer, 257)
    facts = {"directions": ["forward", "reverse"], "window": 256}
    export(model, tokenizer, folder, facts | {"tokenizer_fingerprint": tokenizer_fingerprint(tokenizer)})
    return str(folder)


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


def compare(case: str, model: str, texts: list[str], *, rounds: int, window: int | None) -> list[Row]:
    """All ways in turn over the same documents."""
    precisions = ("float32", "bfloat16") if has_bfloat16_units(torch.device("cpu")) else ("float32",)
    scorers = {
        precision: Scorer.open(model, options=ModelSource(precision=precision), window=window)
        for precision in precisions
    }
    plain = scorers["float32"]
    ids = encode(plain.tokenize, texts)
    names = [""] * len(ids)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        f"revlm, both directions, {precision}": (2, partial(scorer.token_losses, ids, names))
        for precision, scorer in scorers.items()
    }
    ways["plain loop, both directions, float32"] = (2, lambda: plain_loop(plain, ids))
    for size in LM_EVAL_BATCHES:
        ways[f"lm-eval rolling, forward, float32, batch {size}"] = (1, lm_eval_rolling(plain, texts, size))
    print(f"scoring, {case}", flush=True)
    seconds = take_turns({name: partial(timed, way) for name, (_, way) in ways.items()}, rounds)
    # Of a direction.
    per_pass = {name: [t / ways[name][0] for t in times] for name, times in seconds.items()}
    peers = [name for name in ways if name.startswith("lm-eval")]
    best = min(peers, key=lambda name: statistics.median(per_pass[name]))
    aims = {"float32": 2.0 if case == "1.3M" else 1.7, "bfloat16": 4.0}
    tokens = int(ids.lengths.sum())
    return [
        {
            "case": case,
            "way": name,
            "tokens/s": tokens / statistics.median(times),
            "ratio": times_faster(per_pass[best], times),
            "aim": aims[name.rsplit(" ", 1)[1]] if name.startswith("revlm") else None,
            "of lm-eval's best": "is it" if name == best else None,
        }
        for name, times in per_pass.items()
    ]


def timed(way: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def rows() -> list[Row]:
    """Both models."""
    with tempfile.TemporaryDirectory() as name:
        texts = list(load_corpus(DATA, default_cache()).dataset["text"])
        model = make_model(Path(name) / "model", texts)
        chosen = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:DOCUMENTS]]
        small = compare("1.3M", model, chosen, rounds=ROUNDS, window=None)
        return small + compare("SmolLM2-135M", "smollm2", chosen[:FEW], rounds=2, window=256)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    show("Scoring", rows())
