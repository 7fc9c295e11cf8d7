"""Steps of litgpt's model with its own loss, timed at each line on stdin. Run by an environment that has litgpt."""

import sys
import time

import torch
from litgpt.model import GPT, Config
from litgpt.utils import chunked_cross_entropy

BATCH, ROW, VOCABULARY = 8, 257, 4096


def main(width: int, inner: int, heads: int, warm: int, steps: int) -> None:
    """Answer each line with the seconds of `steps` steps behind `warm` others."""
    config = Config(
        name="llama", block_size=ROW, vocab_size=VOCABULARY, padded_vocab_size=VOCABULARY, n_layer=4, n_head=heads,
        n_embd=width, intermediate_size=inner, rotary_percentage=1.0, parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP",
    )  # fmt: skip
    torch.manual_seed(0)
    model = GPT(config)
    model.lm_head.weight = model.transformer.wte.weight
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    rows = torch.randint(VOCABULARY, (warm + steps, BATCH, ROW))
    for _ in sys.stdin:
        began = 0.0
        for at, ids in enumerate(rows):
            if at == warm:
                began = time.perf_counter()
            logits = model(ids[:, :-1], lm_head_chunk_size=128)
            chunked_cross_entropy(logits, ids[:, 1:]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
