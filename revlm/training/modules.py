"""One training step for all: a module only declares which directions it is trained on."""

from __future__ import annotations

import math
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

NOT_FINITE = "lower optimizer.lr or set optimizer.clip_norm, and start again in another run.dir=."


class DirectionalLM(L.LightningModule):
    """A causal LM over oriented rows. Validation always reads both directions.

    The loss of a micro-batch is its summed nll over the targets of the whole optimiser step, so
    padding, packing, accumulation and the number of ranks never change what a step does.
    """

    directions: ClassVar[tuple[Direction, ...]]
    grad_norm: Tensor  # of the latest step, before clipping

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        optimizer: OptimizerConfig,
        curves: CurvesConfig,
        window: int,
        prefix: int,
    ) -> None:
        """Wrap a model.

        Args:
            model: any transformers causal LM.
            optimizer: how weights move.
            curves: bootstrap and crossing rule.
            window: positions of the curves.
            prefix: tokens before a window's body (BOS, and a tag if there is one).
        """
        super().__init__()
        # from_pretrained hands out models in eval mode, which Lightning would keep.
        self.model = model.train()
        self.loss = TokenLoss(model)
        self.optimizer_config, self.curves_config = optimizer, curves
        # Taken before a strategy can flatten or shard parameters.
        self.groups = group_names(model, optimizer)
        self.window, self.prefix = window, prefix
        # Of all windows, and of those that begin their document (others have no true beginning).
        self.all_windows = PositionCurve(window, curves.resamples, curves.seed)
        self.first_windows = PositionCurve(window, curves.resamples, curves.seed)

    @property
    def curves(self) -> dict[str, PositionCurve]:
        """The metrics by the name of what they count."""
        return {"all": self.all_windows, "first": self.first_windows}

    def on_fit_start(self) -> None:
        """Refuse data of other directions than the module's.

        Raises:
            UserError: they disagree.
        """
        given = self.trainer.datamodule.directions  # type: ignore[attr-defined]
        if set(given) != set(self.directions):
            raise UserError(
                f"{type(self).__name__} trains on {_names(self.directions)}, the data is {_names(given)}: "
                "choose both together with direction=forward, reverse or mixed."
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a micro-batch: () nats, its share of the step's mean nll."""
        del batch_idx
        total = self.loss.sum_nll(batch["input_ids"], batch["labels"], batch["position_ids"])
        # DDP averages over ranks and Lightning over micro-batches; both want a sum here.
        scale = self.trainer.world_size * self.trainer.accumulate_grad_batches
        return total / batch["step_targets"] * scale

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch of one direction to the curves."""
        del batch_idx
        labels = batch["labels"]
        nll = self.loss.token_nll(batch["input_ids"], labels, batch["position_ids"])
        for name, curve in self.curves.items():
            wanted = labels != IGNORE
            if name == "first":
                wanted &= batch["first"]
            if wanted.any():
                position = batch["position_ids"][wanted] - self.prefix
                curve.update(nll[wanted], position, batch["doc_id"][wanted], dataloader_idx)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation's sums."""
        for curve in self.curves.values():
            curve.reset()

    def on_validation_epoch_end(self) -> None:
        """Show the loss of each direction; records read `computed`."""
        self.computed = {name: curve.curves() for name, curve in self.curves.items()}
        forward, reverse = self.computed["all"].mean().tolist()
        # Already the same on every rank: compute() has summed them.
        if not (math.isfinite(forward) and math.isfinite(reverse)):
            raise UserError(
                f"the validation loss is {forward} forward and {reverse} in reverse at step "
                f"{self.trainer.global_step}: {NOT_FINITE}"
            )
        self.log(keys.VAL_NLL_FORWARD, forward, prog_bar=True)
        self.log(keys.VAL_NLL_REVERSE, reverse, prog_bar=True)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Refuse a step that would make the weights useless; training on would only look finished.

        Gradients are the same on all ranks here, so all of them stop.

        Raises:
            UserError: the gradient, and so the loss behind it, is nan or infinite.
        """
        del optimizer
        norms = [p.grad.detach().norm() for p in self.model.parameters() if p.grad is not None]
        self.grad_norm = torch.stack(norms).norm()
        if not torch.isfinite(self.grad_norm):
            step = self.trainer.global_step + 1
            raise UserError(
                f"the loss or its gradient is {self.grad_norm.item()} at step {step}: {NOT_FINITE}"
            )

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


def _names(directions: tuple[Direction, ...]) -> str:
    return " and ".join(direction.value for direction in directions)
