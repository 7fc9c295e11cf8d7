"""Optimisers and their schedules; the arithmetic is torch's and transformers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel, get_scheduler

from revlm.config import OptimizerConfig, OptimizerName, Schedule

MATRIX = 2  # dimensions


class Together(Optimizer):
    """Several optimisers that step as one, over disjoint parameters.

    torch's Muon takes matrices only; Lightning's automatic optimisation takes one optimiser. The
    members' own parameter groups are shared, so a schedule reaches all of them.
    """

    def __init__(self, members: list[Optimizer]) -> None:
        """Join them."""
        self.members = members
        super().__init__([group for member in members for group in member.param_groups], {})
        # Optimizer copies groups; members must see what a schedule writes.
        at = 0
        for member in members:
            size = len(member.param_groups)
            member.param_groups = self.param_groups[at : at + size]
            at += size

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every member."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for member in self.members:
            member.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Every member's state."""
        return {"members": [member.state_dict() for member in self.members]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give every member its state back."""
        at = 0
        for member, state in zip(self.members, state_dict["members"], strict=True):
            member.load_state_dict(state)
            size = len(member.param_groups)
            self.param_groups[at : at + size] = member.param_groups
            at += size


def build_optimizer(model: PreTrainedModel, config: OptimizerConfig) -> Optimizer:
    """AdamW, or Muon for the matrices between embedding and head with AdamW for the rest.

    Weight decay touches matrices only: norms and biases have no reason to shrink.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    outer = {id(p) for p in _parameters(model.get_input_embeddings(), model.get_output_embeddings())}
    inner = [p for _, p in named if p.ndim == MATRIX and id(p) not in outer] if _is_muon(config) else []
    taken = {id(p) for p in inner}
    rest = [p for _, p in named if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim >= MATRIX], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < MATRIX], "weight_decay": 0.0},
    ]
    adamw = AdamW([g for g in groups if g["params"]], lr=config.lr, betas=(config.beta1, config.beta2))
    if not inner:
        return adamw
    return Together([Muon(inner, lr=config.muon_lr, weight_decay=config.weight_decay), adamw])


def build_schedule(optimizer: Optimizer, config: OptimizerConfig, num_steps: int) -> LRScheduler:
    """Warm-up from zero (WSD: from final_lr), then cosine, constant with a final decay (WSD), or constant."""
    warmup = round(config.warmup * num_steps)
    decay = round(config.decay * num_steps)
    name, options = {
        Schedule.cosine: ("cosine_with_min_lr", {"min_lr_rate": config.final_lr}),
        Schedule.wsd: ("warmup_stable_decay", {"num_decay_steps": decay, "min_lr_ratio": config.final_lr}),
        Schedule.constant: ("constant_with_warmup", {}),
    }[config.schedule]
    schedule: LRScheduler = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=num_steps,
        scheduler_specific_kwargs=options,
    )
    return schedule


def _is_muon(config: OptimizerConfig) -> bool:
    return config.name is OptimizerName.muon


def _parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    return [p for module in modules if module is not None for p in module.parameters()]
