"""One training step for all: a module only declares which directions it is trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, cast

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel

from revlm import keys
from revlm.config import CurvesConfig, Module, OptimizerConfig
from revlm.data.streams import IGNORE, Batch
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.curves import PositionCurve
from revlm.models.nll import TokenLoss
from revlm.training.optimizers import build_optimizer, build_schedule, group_names
from revlm.training.throughput import flops_per_token, is_logged

NOT_FINITE = "lower optimizer.lr or set optimizer.clip_norm, and start again in another run.dir=."


class DirectionalLM(L.LightningModule):
    """A causal LM over oriented rows. Validation always reads both directions.

    The loss of a micro-batch is its summed nll over the targets of the whole optimiser step, so
    padding, packing, accumulation and the number of ranks never change what a step does.
    """

    directions: ClassVar[tuple[Direction, ...]]
    nll: Tensor  # of the step under way: what this rank's micro-batches add up to so far

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        optimizer: OptimizerConfig,
        curves: CurvesConfig,
        window: int,
        prefix: int,
        packed: bool = True,
    ) -> None:
        """Wrap a model.

        Args:
            model: any transformers causal LM.
            optimizer: how weights move.
            curves: bootstrap and crossing rule.
            window: positions of the curves.
            prefix: tokens before a window's body (BOS, and a tag if there is one).
            packed: rows hold several windows, which a mask of (B, 1, T, T) keeps apart.
        """
        super().__init__()
        # from_pretrained hands out models in eval mode, which Lightning would keep.
        self.model = model.train()
        self.loss = TokenLoss(model)
        self.optimizer_config, self.curves_config = optimizer, curves
        # Both taken before a strategy can flatten or shard parameters.
        self.groups = group_names(model, optimizer)
        self.flops_per_token = flops_per_token(model, window + prefix)
        self.window, self.prefix, self.packed = window, prefix, packed
        # Of all windows, and of those that begin their document (others have no true beginning).
        self.all_windows = PositionCurve(window, curves.resamples, curves.seed)
        self.first_windows = PositionCurve(window, curves.resamples, curves.seed)

    @property
    def curves(self) -> dict[str, PositionCurve]:
        """The metrics by the name of what they count."""
        return {"all": self.all_windows, "first": self.first_windows}

    @property
    def flops_per_batch(self) -> float:
        """Of a micro-batch of one rank, under the name by which Lightning's ThroughputMonitor asks."""
        data, trainer = cast(Any, self.trainer).datamodule, self.trainer
        micro_batches = trainer.world_size * trainer.accumulate_grad_batches
        return float(self.flops_per_token * data.tokens_per_step / micro_batches)

    @classmethod
    def check_directions(cls, given: Iterable[Direction]) -> None:
        """Refuse data of other directions than the module's: it would be another run under a false name.

        Raises:
            UserError: they disagree.
        """
        if set(given) != set(cls.directions):
            raise UserError(
                f"{cls.__name__} trains on {_names(cls.directions)}, the data is {_names(given)}: "
                "choose both together with direction=forward, reverse or mixed."
            )

    def on_fit_start(self) -> None:
        """Refuse other data also where the module is used by hand."""
        self.check_directions(cast(Any, self.trainer).datamodule.directions)

    def on_train_start(self) -> None:
        """Say when the rate jumps: a schedule is made for a budget, and a continued run may have another."""
        schedule = cast(Any, self.trainer.lr_scheduler_configs[0].scheduler)
        had, step = schedule.get_last_lr()[-1], schedule.last_epoch
        has = schedule.base_lrs[-1] * schedule.lr_lambdas[-1](step)
        if self.trainer.is_global_zero and not math.isclose(had, has, rel_tol=0.01, abs_tol=1e-12):
            print(
                f"the learning rate goes from {had:.3g} to {has:.3g} at step {step}: "
                f"optimizer.schedule={self.optimizer_config.schedule.value} is drawn over the whole budget, and "
                "budget.tokens is another now. optimizer.schedule=wsd keeps its rate until the end.",
                flush=True,
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a micro-batch: () nats, its share of the step's mean nll."""
        total = self.loss.sum_nll(batch["input_ids"], batch["labels"], self._positions(batch))
        accumulate = self.trainer.accumulate_grad_batches
        # DDP averages over ranks and Lightning over micro-batches; both want a sum here.
        loss = total / batch["step_targets"] * self.trainer.world_size * accumulate
        share = loss.detach() / accumulate
        self.nll = self.nll + share if batch_idx % accumulate else share
        if (batch_idx + 1) % accumulate == 0 and is_logged(self.trainer, self.global_step + 1):
            self.log(keys.TRAIN_NLL, self.nll, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch of one direction to the curves."""
        labels = batch["labels"]
        nll = self.loss.token_nll(batch["input_ids"], labels, self._positions(batch))
        for name, curve in self.curves.items():
            wanted = labels != IGNORE
            if name == "first":
                wanted &= batch["first"]
            if wanted.any():
                position = batch["position_ids"][wanted] - self.prefix
                curve.update(nll[wanted], position, batch["doc_id"][wanted], dataloader_idx)

    def _positions(self, batch: Batch) -> Tensor | None:
        """What a model must be told of positions; padding behind a row's one window is seen by nothing."""
        return batch["position_ids"] if self.packed else None

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation's sums."""
        for curve in self.curves.values():
            curve.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the loss of each direction; our own record reads `computed`, and before the first step too."""
        self.computed = {name: curve.curves() for name, curve in self.curves.items()}
        forward, reverse = self.computed["all"].mean().tolist()
        # Already the same on every rank: compute() has summed them.
        if not (math.isfinite(forward) and math.isfinite(reverse)):
            raise UserError(
                f"the validation loss is {forward} forward and {reverse} in reverse at step "
                f"{self.trainer.global_step}: {NOT_FINITE}"
            )
        losses = {keys.VAL_NLL_FORWARD: forward, keys.VAL_NLL_REVERSE: reverse}
        self.log_dict(losses, prog_bar=True)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Refuse a step that would make the weights useless; training on would only look finished.

        Gradients are the same on all ranks here, so all of them stop.

        Raises:
            UserError: the gradient, and so the loss behind it, is nan or infinite.
        """
        norms = [p.grad.detach().norm() for p in self.model.parameters() if p.grad is not None]
        grad_norm = torch.stack(norms).norm()
        step = self.global_step + 1
        if not torch.isfinite(grad_norm):
            raise UserError(f"the loss or its gradient is {grad_norm.item()} at step {step}: {NOT_FINITE}")
        if is_logged(self.trainer, step):
            # Lightning would round a Python float to float32.
            self.log(keys.TRAIN_LR, torch.tensor(optimizer.param_groups[-1]["lr"], dtype=torch.float64))
            self.log(keys.TRAIN_GRAD_NORM, grad_norm)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm over all parameters, over all shards where there are some."""
        if isinstance(self.trainer.strategy, FSDPStrategy):
            # Lightning refuses to clip shards by norm; the wrapped model knows how.
            cast(Any, self.trainer.strategy.model).clip_grad_norm_(gradient_clip_val)
            return
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        """Optimiser and a schedule that moves with every step."""
        optimizer: Optimizer = build_optimizer(self.model, self.optimizer_config, self.groups)
        num_steps = self.trainer.datamodule.num_steps  # type: ignore[attr-defined]
        schedule: LRScheduler = build_schedule(optimizer, self.optimizer_config, num_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ForwardLM(DirectionalLM):
    """Reads every document from its beginning."""

    directions = (Direction.FORWARD,)


class ReverseLM(DirectionalLM):
    """Reads every document from its end."""

    directions = (Direction.REVERSE,)


class MixedLM(DirectionalLM):
    """Reads part of the text in either direction, with one body."""

    directions = (Direction.FORWARD, Direction.REVERSE)


MODULES: dict[Module, type[DirectionalLM]] = {
    Module.forward: ForwardLM,
    Module.reverse: ReverseLM,
    Module.mixed: MixedLM,
}


def _names(directions: Iterable[Direction]) -> str:
    return " and ".join(direction.value for direction in directions)
