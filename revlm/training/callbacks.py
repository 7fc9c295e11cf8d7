"""What a person sees of a run while it goes on."""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

from revlm import keys
from revlm.training.throughput import Clock

SHORT = {keys.VAL_NLL_FORWARD: "forward", keys.VAL_NLL_REVERSE: "reverse"}


class Progress(TQDMProgressBar):
    """One bar for the whole run, with time left and both validation losses."""

    def init_train_tqdm(self) -> Any:
        """A bar that fits its terminal."""
        bar = super().init_train_tqdm()
        bar.dynamic_ncols = True
        return bar

    def on_train_epoch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """The run is one pass over its stream; there is no epoch to name."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description("train")

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Losses by their short names."""
        metrics = super().get_metrics(trainer, pl_module)
        return {SHORT.get(name, name): value for name, value in metrics.items()}


class PlainProgress(L.Callback):
    """A line at every validation, for logs and other places without a terminal."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Say how far, how good, how fast, how long still."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        step, total = trainer.global_step, data.num_steps
        metrics = trainer.callback_metrics
        losses = "  ".join(f"{short} {metrics[key]:.3f}" for key, short in SHORT.items() if key in metrics)
        elapsed = self.clock.elapsed()
        rate = step * data.tokens_per_step / elapsed if step and elapsed else 0.0
        left = (total - step) / step * elapsed if step else 0.0
        speed = f"  {rate:,.0f} tokens/s  {left / 60:.1f} min left" if step else ""
        print(f"step {step}/{total}  {losses}{speed}", file=sys.stderr, flush=True)
