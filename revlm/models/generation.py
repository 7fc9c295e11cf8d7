"""Text from a model, in either direction, shown in reading order."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from revlm.data.tokens import TAGS, begin_id, pad_id
from revlm.direction import Direction, orient


def generate_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    *,
    direction: Direction,
    num_tokens: int,
    tag: bool = False,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seed: int = 0,
) -> str:
    """The prompt with what the model writes after it (forward) or before it (reverse).

    The prompt is tokenised, then oriented; ids are put back into text order before they are
    decoded, since pieces of a character decode in that order only. Global random state is kept.

    Args:
        model: causal LM.
        tokenizer: the model's.
        prompt: may be empty.
        direction: in which the model writes.
        num_tokens: to write.
        tag: put the direction's tag behind BOS, as in training with direction.tag=true.
        temperature: 0 is greedy.
        top_p: share of probability to sample from.
        seed: of the sampling.
    """
    head = [begin_id(tokenizer)]
    if tag:
        head.append(int(tokenizer.convert_tokens_to_ids(TAGS[direction])))
    body = tokenizer(prompt, add_special_tokens=False, return_tensors="np")["input_ids"][0].astype("int64")
    row = torch.tensor([head + orient(body, direction).tolist()], device=model.device)
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p} if temperature else {}
    was_training = model.training
    model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        out = model.generate(
            row,
            attention_mask=torch.ones_like(row),
            max_new_tokens=num_tokens,
            pad_token_id=pad_id(tokenizer),
            use_cache=True,
            **sampling,
        )
    model.train(was_training)
    written = out[0, len(head) :].cpu().numpy()
    return str(tokenizer.decode(orient(written, direction).tolist(), skip_special_tokens=True))
