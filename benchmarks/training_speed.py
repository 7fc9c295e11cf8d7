"""How fast is a training step beside a bare loop with all logits?

python -m benchmarks.training_speed

Takes turns, so that a machine whose speed drifts is fair to all: a bare loop over
padded-free rows with transformers' own loss, the same loop with revlm's chunked loss, and a
packed batch out of revlm's stream with the chunked loss. Prints tokens/s and ratios (medians).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.optim import AdamW
from transformers import PreTrainedModel

from revlm.config import BudgetConfig, DataConfig, DirectionConfig, ModelConfig, TokenizerConfig
from revlm.data.datamodule import TokenStreamDataModule
from revlm.models.backbone import from_config
from revlm.models.nll import TokenLoss

SHAPES = {
    "llama_1m": {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    },
    "llama_4m": {
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
    },
}
ROUNDS, STEPS = 7, 6


def datamodule(cache: Path) -> TokenStreamDataModule:
    """The laptop's stream."""
    data = TokenStreamDataModule(
        DataConfig(max_bytes_per_domain=200_000),
        tokenizer=TokenizerConfig(),
        direction=DirectionConfig(),
        budget=BudgetConfig(),
        seed=0,
        cache_dir=cache,
    )
    data.setup("fit")
    return data


def stepper(model: PreTrainedModel, loss: Callable[[int], torch.Tensor]) -> Callable[[int], None]:
    """Forward, backward and an AdamW step."""
    optimizer = AdamW(model.parameters(), lr=1e-3)

    def step(k: int) -> None:
        loss(k).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def variants(data: TokenStreamDataModule, shape: dict[str, int]) -> dict[str, Callable[[int], None]]:
    """The three ways, each with a model of its own."""
    rows = torch.from_numpy(data.store.ids[: 257 * 8 * 64].astype("int64")).view(-1, 8, 257)
    positions = torch.arange(257).expand(8, 257)
    built = {}
    for name in ("bare loop, all logits", "bare loop, chunked loss", "revlm's stream, chunked loss"):
        torch.manual_seed(0)
        model = from_config(ModelConfig(config=shape | {"tie_word_embeddings": True}), data.tokenizer, 257)
        loss = TokenLoss(model)

        def bare(k: int, model: PreTrainedModel = model) -> torch.Tensor:
            ids = rows[k % len(rows)]
            return model(input_ids=ids, labels=ids, use_cache=False).loss

        def chunked(k: int, loss: TokenLoss = loss) -> torch.Tensor:
            ids = rows[k % len(rows)]
            return loss.sum_nll(ids, ids, positions) / ids[:, 1:].numel()

        def stream(k: int, loss: TokenLoss = loss) -> torch.Tensor:
            b = data.train_stream[k]
            return loss.sum_nll(b["input_ids"], b["labels"], b["position_ids"]) / b["step_targets"]

        ways = (bare, chunked, stream)
        built[name] = stepper(model, ways[len(built)])
    return built


def main() -> None:
    """Time each way in turn and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        data = datamodule(Path(folder))
        print(f"{'model':10} {'way':30} {'tokens/s':>9} {'ratio':>6}")
        for model, shape in SHAPES.items():
            ways = variants(data, shape)
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for round_ in range(ROUNDS + 1):
                for name, step in ways.items():
                    started = time.perf_counter()
                    for k in range(STEPS):
                        step(round_ * STEPS + k)
                    # The first round warms up.
                    if round_:
                        seconds[name].append(time.perf_counter() - started)
            base = next(iter(seconds.values()))
            for name, times in seconds.items():
                ratio = statistics.median(b / t for b, t in zip(base, times, strict=True))
                print(
                    f"{model:10} {name:30} {8 * 257 * STEPS / statistics.median(times):>9,.0f} {ratio:>6.2f}"
                )


if __name__ == "__main__":
    main()
