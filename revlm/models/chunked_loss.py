"""Cross-entropy over a vocabulary without holding the logits, and with its gradient made on the way."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def chunked_cross_entropy(states: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> Tensor:
    """Sum of -log softmax(states @ weight.T)[target], differentiable.

    Logits of a chunk of tokens are made once: the gradient of the loss by them is known as soon as they are, so it
    is multiplied out before they are dropped. Products are in the precision of the states, sums and the softmax in float32.

    Args:
        states: (N, H) last hidden states.
        weight: (V, H) of the output embedding.
        targets: (N,) int64 ids.
        chunk: tokens whose logits (chunk, V) are held at once.

    Returns:
        () float32 nats.
    """
    total: Tensor = _Chunked.apply(states, weight, targets, chunk)  # type: ignore[no-untyped-call]
    return total


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        by_states = torch.empty_like(states)
        by_weight = torch.zeros_like(weight, dtype=torch.float32)
        head = weight.to(states.dtype)
        parts = zip(*(torch.split(each, chunk) for each in (states, targets, by_states)), strict=True)
        for some, wanted, by_some in parts:
            log_p = F.log_softmax(some @ head.T, dim=1, dtype=torch.float32)
            total -= log_p.gather(1, wanted[:, None]).sum()
            by_logits = log_p.exp_()
            by_logits.scatter_add_(1, wanted[:, None], by_logits.new_full((len(wanted), 1), -1))
            by_logits = by_logits.to(states.dtype)
            torch.mm(by_logits, head, out=by_some)
            if states.dtype == torch.float32:
                by_weight.addmm_(by_logits.T, some)
            else:
                by_weight += by_logits.T @ some
        ctx.save_for_backward(by_states, by_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (grad,) = grads
        by_states, by_weight = ctx.saved_tensors
        return by_states * grad.to(by_states.dtype), (by_weight * grad).to(ctx.weight_dtype), None, None
