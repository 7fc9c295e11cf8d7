"""Text from a model, in either direction, shown in reading order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.generation import logits_process as logits

from revlm.data.layout import Layout
from revlm.data.tokens import encode, plain_tokenizer
from revlm.direction import Direction, IntArray
from revlm.errors import UserError
from revlm.models.nll import context_of, still


@dataclass(frozen=True)
class Passage:
    """A prompt and what a model wrote after it (forward) or before it (reverse)."""

    prompt: str
    written: str
    direction: Direction

    @property
    def text(self) -> str:
        """Both, in reading order."""
        return self._join(self.prompt)

    @property
    def marked(self) -> str:
        """The same with the prompt in [brackets]."""
        return self._join(f"[{self.prompt}]")

    def _join(self, prompt: str) -> str:
        forward = self.direction is Direction.FORWARD
        return prompt + self.written if forward else self.written + prompt


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    layout: Layout,
    prompts: Sequence[str],
    *,
    direction: Direction,
    **options: Any,
) -> list[Passage]:
    """What a model writes to each prompt, if there are any; see `generate_ids` for the options.

    Prompts are tokenised, then oriented, and ids are decoded in text order only: pieces of a
    character mean nothing backwards. A prompt stands in its passage as it was given, and text that
    spells a special token stays text.
    """
    ids = encode(plain_tokenizer(tokenizer), list(prompts))
    given = [ids.document(index) for index in range(len(ids))]
    written = generate_ids(model, layout, given, direction=direction, **options)
    return [
        Passage(prompt, _decode_beside(tokenizer, new, old, prompt, direction), direction)
        for prompt, new, old in zip(prompts, written, given, strict=True)
    ]


def generate_ids(
    model: PreTrainedModel,
    layout: Layout,
    prompts: Sequence[IntArray],
    *,
    direction: Direction,
    num_tokens: int,
    temperature: float = 0.8,
    top_p: float = 0.95,
    seeds: Sequence[int] | None = None,
    stop_at_end: bool = False,
    batch_size: int = 16,
) -> list[IntArray]:
    """Ids that a model writes after each prompt (forward) or before it (reverse).

    A prompt's result depends on the model, the prompt and its seed; never, beyond the rounding of
    the arithmetic, on what else stands in its batch. Global random state is kept, and the model's
    own generation defaults are left aside.

    Args:
        model: causal LM.
        layout: how a row begins, and what was kept in order when the model was trained.
        prompts: each (n,) ids in text order, n >= 0.
        direction: in which the model writes.
        num_tokens: to write.
        temperature: 0 is greedy.
        top_p: share of probability to sample from.
        seeds: of each prompt; None: 0 for all.
        stop_at_end: let the model's end-of-text token end a text before `num_tokens`; otherwise
            that token is never written. Models trained by revlm know none.
        batch_size: prompts that are written to at a time.

    Returns:
        For each prompt (num_tokens,) ids, or fewer with `stop_at_end`, in text order.

    Raises:
        UserError: a prompt and what is to be written do not fit into the model's context.
    """
    rows = [layout.head(direction) + layout.orient(prompt, direction).tolist() for prompt in prompts]
    _check_context(model, rows, num_tokens, layout.prefix)
    end, seeds = _end_ids(model), seeds or [0] * len(rows)
    options = _options(num_tokens, 0 if stop_at_end else num_tokens, end=end, pad=layout.pad)
    written: dict[int, IntArray] = {}
    with _as_asked(model):
        for batch in _batches(rows, batch_size):
            inputs = [rows[index] for index in batch]
            choice = _choice(inputs, [seeds[index] for index in batch], temperature, top_p)
            written |= zip(batch, _continue(model, inputs, options, choice), strict=True)
    # Units of the prompt stay its own: what is written is turned apart from it.
    return [layout.orient(_until(written[index], end), direction) for index in range(len(rows))]


class RowNoise(logits.LogitsProcessor):
    """Gumbel noise for each row from a generator of its own.

    The largest of scores + Gumbel noise is a draw from softmax(scores), so greedy search over
    noisy scores samples, and no row's draws depend on another row.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 -- transformers' order
        size = scores.shape[-1]
        waits = torch.stack([torch.empty(size).exponential_(generator=g) for g in self.generators])
        # Minus the logarithm of an exponential variable is a Gumbel variable.
        return scores - waits.log().to(scores.device)


def _options(most: int, fewest: int, *, end: list[int], pad: int) -> GenerationConfig:
    """Greedy search for this many tokens; chance comes in through the scores, see `RowNoise`."""
    return GenerationConfig(
        max_new_tokens=most,
        min_new_tokens=fewest,
        do_sample=False,
        use_cache=True,
        eos_token_id=end or None,
        pad_token_id=pad,
    )


def _batches(rows: Sequence[list[int]], size: int) -> Iterator[list[int]]:
    """Numbers of the rows that share a batch: of like length, which leaves less to pad."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _choice(rows: Sequence[list[int]], seeds: Sequence[int], temperature: float, top_p: float) -> list[Any]:
    """What turns scores into a choice of the largest: nothing when greedy."""
    if temperature == 0:
        return []
    # The row is part of the seed: other prompts under the same seed have draws of their own.
    named = [f"{seed} {row}".encode() for row, seed in zip(rows, seeds, strict=True)]
    keys = [hashlib.blake2b(name, digest_size=7).digest() for name in named]
    noise = RowNoise([int.from_bytes(key, "little") for key in keys])
    return [logits.TemperatureLogitsWarper(temperature), logits.TopPLogitsWarper(top_p), noise]


def _continue(
    model: PreTrainedModel, rows: Sequence[list[int]], options: GenerationConfig, choice: list[Any]
) -> list[IntArray]:
    """Ids that follow each row: padding stands on the left, where no token looks at it."""
    width = max(map(len, rows))
    padding = [width - len(row) for row in rows]
    ids = torch.tensor([[options.pad_token_id] * pad + row for row, pad in zip(rows, padding, strict=True)])
    mask = (torch.arange(width) >= torch.tensor(padding)[:, None]).long()
    out = model.generate(
        ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=options,
        logits_processor=logits.LogitsProcessorList(choice),
    )
    return list(out[:, width:].cpu().numpy())


@contextmanager
def _as_asked(model: PreTrainedModel) -> Iterator[None]:
    """A model without dropout and without generation defaults of its own, such as sampling."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        with still(model):
            yield
    finally:
        model.generation_config = own


def _until(ids: IntArray, end: Sequence[int]) -> IntArray:
    """Ids before the first end-of-text token."""
    ends = np.flatnonzero(np.isin(ids, list(end)))
    return ids[: ends[0]] if len(ends) else ids


def _end_ids(model: PreTrainedModel) -> list[int]:
    """Tokens that end a text: a model may know several."""
    known = (model.generation_config.eos_token_id, getattr(model.config, "eos_token_id", None))
    lists = [ids if isinstance(ids, list) else [ids] for ids in known]
    return sorted({token for ids in lists for token in ids if token is not None})


def _check_context(model: PreTrainedModel, rows: Sequence[list[int]], num_tokens: int, prefix: int) -> None:
    context = context_of(model.config)
    longest = max(map(len, rows), default=0)
    if context is not None and longest + num_tokens > context:
        room = context - longest
        lower = f"set num_tokens= to {room} or less, or " if room > 0 else ""
        raise UserError(
            f"a prompt of {longest - prefix} tokens and num_tokens={num_tokens} need {longest + num_tokens} positions "
            f"with what stands before them, and the model has {context}: {lower}shorten the prompt."
        )


def _decode_beside(
    tokenizer: PreTrainedTokenizerFast, new: IntArray, given: IntArray, prompt: str, direction: Direction
) -> str:
    """The text of new ids where they stand: decoders treat the beginning of a text in their own ways."""
    decode = partial(tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    forward = direction is Direction.FORWARD
    whole = str(decode(np.concatenate((given, new) if forward else (new, given))))
    beside = whole.removeprefix(prompt) if forward else whole.removesuffix(prompt)
    # Else the tokenizer does not give the prompt back, or the two ran together: what is new alone.
    return beside if len(beside) + len(prompt) == len(whole) else str(decode(new))
