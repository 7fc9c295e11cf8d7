"""Optimisers and their schedules; the arithmetic is torch's and transformers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel, get_scheduler

from revlm.config import OptimizerConfig, OptimizerName, Schedule
from revlm.errors import UserError
from revlm.training.muon import StackedMuon

MATRIX = 2  # dimensions
FUSED = ("cpu", "cuda")  # devices that have torch's fused AdamW


class Together(Optimizer):
    """Several optimisers that step as one, over disjoint parameters.

    Muon takes matrices only; Lightning's automatic optimisation takes one optimiser. The
    members' own parameter groups are shared, so a schedule reaches all of them.
    """

    def __init__(self, members: list[Optimizer]) -> None:
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


def group_names(model: PreTrainedModel, config: OptimizerConfig) -> dict[str, str]:
    """Which rule moves each parameter: "muon", "decayed" or "plain", by its name.

    Muon takes the matrices between embedding and head. Weight decay touches matrices only: norms
    and biases have no reason to shrink.
    """
    outer = {id(p) for p in _parameters(model.get_input_embeddings(), model.get_output_embeddings())}
    muon = config.name is OptimizerName.muon

    def rule(p: nn.Parameter) -> str:
        if muon and p.ndim == MATRIX and id(p) not in outer:
            return "muon"
        return "decayed" if p.ndim >= MATRIX else "plain"

    return {name: rule(p) for name, p in model.named_parameters() if p.requires_grad}


def build_optimizer(model: PreTrainedModel, config: OptimizerConfig, groups: dict[str, str]) -> Optimizer:
    """AdamW for everything, or Muon for matrices and AdamW for the rest.

    Args:
        model: as it is trained, wrapped or not.
        config: rates.
        groups: from `group_names`, before the model was wrapped.

    Raises:
        UserError: Muon is asked for on sharded matrices.
    """
    members: dict[str, list[nn.Parameter]] = {"muon": [], "decayed": [], "plain": []}
    for name, p in model.named_parameters():
        # FSDP puts its own names between ours.
        clean = name.replace("_fsdp_wrapped_module.", "")
        if clean in groups:
            members[groups[clean]].append(p)
    decay = {"decayed": config.weight_decay, "plain": 0.0}
    parts = [{"params": members[rule], "weight_decay": decay[rule]} for rule in decay if members[rule]]
    # One kernel for all parameters in place of a dozen for each.
    fused = model.device.type in FUSED
    adamw = AdamW(parts, lr=config.lr, betas=(config.beta1, config.beta2), fused=fused)
    if not members["muon"]:
        return adamw
    if any(p.ndim != MATRIX for p in members["muon"]):
        raise UserError("optimizer.name=muon needs whole matrices, not shards: choose trainer.strategy=ddp.")
    muon = StackedMuon(members["muon"], lr=config.muon_lr, weight_decay=config.weight_decay)
    return Together([muon, adamw])


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


def _parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    return [p for module in modules if module is not None for p in module.parameters()]
