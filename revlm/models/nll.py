"""Token losses of a causal language model, in nats and float32, without holding all logits.

With a vocabulary of V, logits take V numbers a token: more than everything else together. Where a
model makes its logits from its last hidden states alone, losses are computed in chunks of tokens:
by its output embedding where logits are just that, else (soft-capped or scaled logits) by the
model's own forward with the body's work already done. Other models' logits are held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from revlm.data.streams import IGNORE
from revlm.errors import UserError, first_line
from revlm.models.chunked_loss import chunked_cross_entropy

# Tokens whose logits are held at once. At a vocabulary of 4096 that is 4 MB, which a core's cache
# holds; larger chunks were not faster on a CPU and cost memory at large vocabularies.
CHUNK_TOKENS = 256
# Logits held at once: 64 MB in float32, reached at a vocabulary of 65,536.
CHUNK_LOGITS = 1 << 24
# By how much sums of the same numbers in another order may differ, as a share of what they are held against.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}


class TokenLoss:
    """Losses of one model's predictions.

    Labels follow transformers' convention: labels[:, t] is predicted from what stands before t.
    Batches carry restarting position_ids and no attention mask, which makes transformers keep
    the windows of a row apart; the cache must be off for it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.linear = _makes_logits(model, _embedding_head)
        self.replayed = not self.linear and _makes_logits(model, _replayed_head)
        self.chunk = max(1, min(CHUNK_TOKENS, CHUNK_LOGITS // vocabulary_of(model)))
        self._trained_body: Callable[..., Any] = model.base_model

    def compile(self) -> None:
        """Let torch compile the body for `sum_nll`, whose rows all have one shape; it happens at the first one.

        Everything else, such as losses of rows of any length and generation, goes on uncompiled.
        """
        from torch._dynamo.exc import TorchDynamoException

        body: Callable[..., Any] = torch.compile(self.model.base_model.forward, dynamic=False)

        def compiled(**inputs: Any) -> Any:
            try:
                return body(**inputs)
            except TorchDynamoException as error:
                raise UserError(
                    f"torch cannot compile this model here ({first_line(error)}): set trainer.compile=false."
                ) from error

        self._trained_body = compiled

    def token_nll(self, input_ids: Tensor, labels: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Negative log-likelihood of every label.

        Args:
            input_ids: (B, T) int64.
            labels: (B, T) int64, IGNORE where there is nothing to predict.
            position_ids: (B, T) int64, restarting at 0 in every window; None where each row holds
                one window from its start on, which spares the model a mask.

        Returns:
            (B, T) float32 nats (float64 for a model in float64); entry t belongs to labels[:, t],
            0 where ignored.
        """
        states, targets = self._predictions(input_ids, labels, position_ids, self.model.base_model)
        dtype = torch.promote_types(states.dtype, torch.float32)
        chunks = zip(torch.split(states, self.chunk), torch.split(targets, self.chunk), strict=True)
        losses = [
            F.cross_entropy(self._logits(chunk).to(dtype), wanted, reduction="none")
            for chunk, wanted in chunks
        ]
        nll = torch.zeros(labels.shape, dtype=dtype, device=labels.device)
        nll[:, 1:][labels[:, 1:] != IGNORE] = torch.cat(losses)
        return nll

    def sum_nll(self, input_ids: Tensor, labels: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Sum of `token_nll`, differentiable: () float32 nats."""
        states, targets = self._predictions(input_ids, labels, position_ids, self._trained_body)
        device = states.device.type
        head = self.model.get_output_embeddings() if self.linear else None
        if head is None or head.bias is not None or states.dtype == torch.float64:
            return _checkpointed_sum(self._logits, states, targets, self._chunk_on(device))
        if torch.is_autocast_enabled(device):
            states = states.to(torch.get_autocast_dtype(device))
        with torch.autocast(device, enabled=False):
            return chunked_cross_entropy(states, head.weight, targets, self._chunk_on(device))

    def _chunk_on(self, device: str) -> int:
        """Tokens whose logits are held at once: a GPU wants larger products than a processor's cache holds."""
        return self.chunk if device == "cpu" else 16 * self.chunk

    def _predictions(
        self, input_ids: Tensor, labels: Tensor, position_ids: Tensor | None, body: Callable[..., Any]
    ) -> tuple[Tensor, Tensor]:
        """What predicts each label, hidden states (N, H) or logits (N, V), and the labels (N,)."""
        if position_ids is not None and _begin_with_their_rows(labels, position_ids):
            # A mask takes (B, 1, T, T) numbers; causal attention without one gives these labels the same losses.
            position_ids = None
        inputs = {"input_ids": input_ids, "position_ids": position_ids, "use_cache": False}
        if self.linear or self.replayed:
            states = body(**inputs).last_hidden_state
        else:
            states = self.model(**inputs).logits
        wanted = labels[:, 1:] != IGNORE
        return states[:, :-1][wanted], labels[:, 1:][wanted]

    def _logits(self, states: Tensor) -> Tensor:
        if self.linear:
            return _embedding_head(self.model, states)
        return _replayed_head(self.model, states) if self.replayed else states


def _begin_with_their_rows(labels: Tensor, position_ids: Tensor) -> bool:
    """Whether every window with a label begins where its row does, as where rows hold one window and padding."""
    from_start = torch.arange(labels.shape[1], device=labels.device)
    return not ((position_ids != from_start) & (labels != IGNORE)).any()


@contextmanager
def still(model: PreTrainedModel) -> Iterator[None]:
    """Without gradients and without dropout, which would make two equal passes differ."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _embedding_head(model: PreTrainedModel, states: Tensor) -> Tensor:
    """(N, V) logits of hidden states (N, H) by the output embedding."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise TypeError("no output embedding")
    return cast(Tensor, head(states))


def _replayed_head(model: PreTrainedModel, states: Tensor) -> Tensor:
    """(N, V) logits of hidden states (N, H) by the model's forward, whose body hands them over."""
    body = model.base_model
    if body is model:
        raise TypeError("no body to hand over states")
    done = BaseModelOutputWithPast(last_hidden_state=states[None])
    body.forward = lambda *_, **__: done
    try:
        return cast(Tensor, model(inputs_embeds=states[None], use_cache=False).logits[0])
    finally:
        del body.forward


def _makes_logits(model: PreTrainedModel, head: Callable[[PreTrainedModel, Tensor], Tensor]) -> bool:
    """Whether a way to make logits out of the last hidden states gives exactly the model's own."""
    if next(model.parameters()).is_meta:
        return False
    ids = torch.arange(8, device=model.device).remainder(vocabulary_of(model))[None]
    with still(model):
        try:
            states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            logits = head(model, states[0])
        except (TypeError, ValueError, AttributeError):
            return False
        own = model(input_ids=ids, use_cache=False).logits[0]
        return bool((logits - own).abs().max() <= ROUNDING[own.dtype] * own.abs().max())


def _checkpointed_sum(
    head: Callable[[Tensor], Tensor], states: Tensor, targets: Tensor, chunk: int
) -> Tensor:
    """Summed nll in float32 under any head; logits are made twice, never held."""

    def part(some: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(head(some).float(), wanted, reduction="sum")

    sums = [
        cast(Tensor, checkpoint(part, some, wanted, use_reentrant=False))
        for some, wanted in zip(torch.split(states, chunk), torch.split(targets, chunk), strict=True)
    ]
    return torch.stack(sums).sum()


def is_causal(model: PreTrainedModel) -> bool:
    """Whether no logit depends on a later token: changes a row's end and looks at what stands before."""
    kept = _unmoved(model, 8, slice(5, None))
    return bool(kept[:5].all())


def check_windows_apart(model: PreTrainedModel) -> bool:
    """Whether the windows of a packed row are invisible to each other.

    Changes one window of a row and looks whether any logit of its neighbours moves. Some
    architectures and attention kernels ignore restarting positions; packing would leak there.
    """
    positions = torch.arange(4, device=model.device).repeat(3)[None]
    kept = _unmoved(model, 12, slice(4, 8), position_ids=positions)
    return bool(kept[:4].all() and kept[8:].all())


def _unmoved(model: PreTrainedModel, length: int, changed: slice, **inputs: Tensor) -> Tensor:
    """(length,) at which tokens of a row all logits stay as they are when a stretch of it is changed.

    Up to rounding: other batches of a mixture's experts, or other kernels, round the same sums otherwise. What counts
    as rounding goes by how far the logits move that may.
    """
    vocabulary = vocabulary_of(model)
    row = torch.arange(length, device=model.device).remainder(vocabulary)
    other = row.clone()
    other[changed] = (other[changed] + 3).remainder(vocabulary)
    with still(model):
        before, after = (
            model(input_ids=ids[None], use_cache=False, **inputs).logits[0] for ids in (row, other)
        )
    moved = (before - after).abs().amax(dim=-1)
    unmoved: Tensor = moved <= ROUNDING[moved.dtype] * moved.max()
    return unmoved


def vocabulary_of(model: PreTrainedModel) -> int:
    """Ids that a model knows; of one that reads pictures too, those of its text."""
    return int(model.config.get_text_config().vocab_size)


def context_of(config: PretrainedConfig) -> int | None:
    """Positions that a model can use; None where nothing says that they end."""
    # XLNet says -1, models without positions say nothing.
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(context) if context and context > 0 else None
