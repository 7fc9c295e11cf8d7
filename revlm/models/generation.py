"""Text from a model, in either direction, shown in reading order."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from revlm.data.tokens import TAGS, begin_id, pad_id
from revlm.data.units import Units
from revlm.direction import Direction, IntArray, orient


def generate_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompt: IntArray,
    *,
    direction: Direction,
    num_tokens: int,
    tag: bool = False,
    units: Units = None,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
) -> IntArray:
    """The prompt's ids with what the model writes after it (forward) or before it (reverse).

    Global random state is kept.

    Args:
        model: causal LM.
        tokenizer: the model's.
        prompt: (n,) ids in text order, n >= 0.
        direction: in which the model writes.
        num_tokens: to write.
        tag: put the direction's tag behind BOS, as in training with direction.tag=true.
        units: what the model was trained to keep in order; None: single tokens.
        temperature: 0 is greedy.
        top_p: share of probability to sample from.
        seed: of the sampling.

    Returns:
        (n + num_tokens,) int64 ids in text order.
    """
    head = [begin_id(tokenizer)]
    if tag:
        head.append(int(tokenizer.convert_tokens_to_ids(TAGS[direction])))

    def turned(ids: IntArray) -> IntArray:
        return orient(ids, direction, units(ids) if units else None)

    row = torch.tensor([head + turned(prompt).tolist()], device=model.device)
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p} if temperature else {}
    was_training = model.training
    model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        out = model.generate(
            row,
            attention_mask=torch.ones_like(row),
            max_new_tokens=num_tokens,
            min_new_tokens=num_tokens,
            pad_token_id=pad_id(tokenizer),
            use_cache=True,
            **sampling,
        )
    model.train(was_training)
    written = turned(out[0, row.shape[1] :].cpu().numpy())
    # Units of the prompt stay its own: the two parts are turned apart.
    return np.concatenate((prompt, written) if direction is Direction.FORWARD else (written, prompt))


def generate_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    **options: Any,
) -> str:
    """Text from a prompt, which may be empty, in reading order; see `generate_ids`.

    The prompt is tokenised, then oriented, and ids are decoded in text order only: pieces of a
    character mean nothing backwards.
    """
    ids = np.asarray(tokenizer(prompt, add_special_tokens=False)["input_ids"], dtype=np.int64)
    written = generate_ids(model, tokenizer, ids, **options)
    return str(tokenizer.decode(written.tolist(), skip_special_tokens=True))
