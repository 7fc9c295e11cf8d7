"""Watching a run: its clock, its health, and what a person sees of it."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

from revlm import keys

SHORT = {keys.VAL_NLL_FORWARD: "forward", keys.VAL_NLL_REVERSE: "reverse"}


class Clock(L.Callback):
    """Seconds spent training, validation left out, over all sittings of a run."""

    def __init__(self) -> None:
        """At zero."""
        self.seconds = 0.0
        self._since: float | None = None

    def _stop(self) -> None:
        if self._since is not None:
            self.seconds += time.perf_counter() - self._since
            self._since = None

    def on_train_start(self, *args: Any) -> None:
        """Start."""
        del args
        self._since = time.perf_counter()

    def on_validation_start(self, *args: Any) -> None:
        """Pause."""
        del args
        self._stop()

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Go on."""
        del args
        if trainer.training or trainer.state.fn == "fit":
            self._since = time.perf_counter()

    def on_train_end(self, *args: Any) -> None:
        """Stop."""
        del args
        self._stop()

    def elapsed(self) -> float:
        """Seconds so far."""
        running = time.perf_counter() - self._since if self._since is not None else 0.0
        return self.seconds + running

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"seconds": self.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.seconds = state_dict["seconds"]


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
        metrics.pop("v_num", None)
        return {SHORT.get(name, name): value for name, value in metrics.items()}


class PlainProgress(L.Callback):
    """A line at every validation, for logs and other places without a terminal."""

    def __init__(self, clock: Clock) -> None:
        """Share the run's clock."""
        self.clock = clock

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Say how far, how good, how fast, how long still."""
        del args
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
