"""Muon for many small matrices: those of one shape take their step together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Muon

from revlm.models.precision import has_bfloat16_units


class StackedMuon(Muon):
    """torch's Muon with the same state, whose Newton-Schulz iterations run on stacks of matrices.

    torch takes one matrix at a time and always in bfloat16, which costs a small model on a processor a third of its
    step. Here matrices of one shape are one batched product, in bfloat16 where the device has units for it and in
    float32 elsewhere. Updates equal torch's up to that rounding.

    Source: Keller Jordan, Muon (https://kellerjordan.github.io/posts/muon/), as torch.optim.Muon has it.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all matrices that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            stacks: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    stacks[p.shape].append(p)
            for shape, matrices in stacks.items():
                self._step(group, shape, matrices)
        return loss

    def _step(self, group: dict[str, Any], shape: torch.Size, matrices: list[nn.Parameter]) -> None:
        """Move N matrices of one shape."""
        lr, momentum = float(group["lr"]), group["momentum"]
        grads = [p.grad for p in matrices if p.grad is not None]
        buffers = [self._momentum(p) for p in matrices]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        updates = buffers
        if group["nesterov"]:
            updates = [grad.lerp(buffer, momentum) for grad, buffer in zip(grads, buffers, strict=True)]
        dtype = torch.bfloat16 if has_bfloat16_units(matrices[0].device) else torch.float32
        whole = newton_schulz(
            torch.stack(updates).to(dtype),
            coefficients=group["ns_coefficients"],
            steps=group["ns_steps"],
            eps=group["eps"],
        ).to(matrices[0].dtype)
        rate = lr * math.sqrt(max(1, shape[0] / shape[1]))
        weights: list[Tensor] = list(matrices)
        torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
        torch._foreach_add_(weights, list(whole.unbind()), alpha=-rate)

    def _momentum(self, p: nn.Parameter) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def newton_schulz(matrices: Tensor, *, coefficients: Iterable[float], steps: int, eps: float) -> Tensor:
    """Nearly orthogonal matrices with the singular vectors of the given ones.

    Args:
        matrices: (N, R, C).
        coefficients: of the quintic polynomial that drives singular values towards 1.
        steps: iterations.
        eps: least norm to divide by.

    Returns:
        (N, R, C) in the same precision.
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
