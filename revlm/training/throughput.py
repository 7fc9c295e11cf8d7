"""What training costs: its time, its memory, and how much of the device's arithmetic it uses."""

from __future__ import annotations

import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn
from transformers import PreTrainedModel

from revlm import keys

MEBI = 1 << 20
# Compute types by the first part of Lightning's precision; anything else computes in float32.
DTYPES = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}
# The benchmark grows its matrices up to this side while three larger products fit into these seconds.
LARGEST, BENCHMARK_SECONDS, REPEATS = 8192, 0.3, 3


class Clock(L.Callback):
    """Seconds spent training, validation left out, over all sittings of a run; and the speed of each step."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = None
        self._mark = (0.0, 0)

    def _stop(self) -> None:
        if self._since is not None:
            self.seconds += time.perf_counter() - self._since
            self._since = None

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Start; this sitting's speed and its GPU memory count from here."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._since = time.perf_counter()
        self._mark = (self.elapsed(), trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the tokens a second since the last step that got a row."""
        step = trainer.global_step
        if (batch_idx + 1) % trainer.accumulate_grad_batches or not is_logged(trainer, step):
            return
        seconds, since = self.elapsed() - self._mark[0], step - self._mark[1]
        self._mark = (self.elapsed(), step)
        tokens = since * trainer.datamodule.tokens_per_step  # type: ignore[attr-defined]
        pl_module.log(keys.TOKENS_PER_SECOND, tokens / seconds if seconds > 0 else float("nan"))

    def on_validation_start(self, *args: Any) -> None:
        """Pause."""
        self._stop()

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Go on."""
        if trainer.training or trainer.state.fn == "fit":
            self._since = time.perf_counter()

    def on_train_end(self, *args: Any) -> None:
        """Stop."""
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


def is_logged(trainer: L.Trainer, step: int) -> bool:
    """Whether Lightning hands the numbers of a step, counted from 1, to its loggers."""
    every = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
    return every > 0 and step % every == 0


def usage(trainer: L.Trainer, *, tokens: int, flops_per_token: float) -> dict[str, Any]:
    """The cost of a finished run, for its summary.

    Args:
        trainer: that has trained it, with a `Clock` among its callbacks.
        tokens: input tokens of the whole run.
        flops_per_token: of `flops_per_token`.

    Returns:
        seconds, tokens_per_second, device, peak_memory_mb, flops_per_token, peak_flops (of one device) and
        mfu, the share of all devices' peak that the model's own arithmetic used.
    """
    (clock,) = (callback for callback in trainer.callbacks if isinstance(callback, Clock))  # type: ignore[attr-defined]
    seconds, device = clock.elapsed(), trainer.strategy.root_device
    # Read before the benchmark takes some of its own.
    memory = peak_memory_mb(device)
    peak = peak_flops(device, DTYPES.get(str(trainer.precision).partition("-")[0], torch.float32))
    return {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "device": device_name(device),
        "peak_memory_mb": memory,
        "flops_per_token": flops_per_token,
        "peak_flops": peak,
        "mfu": flops_per_token * tokens / seconds / (peak * trainer.world_size),
    }


def flops_per_token(model: PreTrainedModel, row_length: int) -> float:
    """Floating-point operations of one training token, forward and backward.

    A matrix of M numbers takes 2 M operations a token: a product and a sum each. Attention takes, in
    each of L layers of A = heads * head size, 2 T A for the scores of a row of T tokens and 2 T A for
    their weighted sum. The backward pass does each product twice, by inputs and by weights. Together:
    6 M + 12 L T A. Attention counts as if every token saw the whole row, as is usual for MFU. Lookups in
    embeddings, norms and activations are not counted, and a mixture of experts counts all experts.

    Args:
        model: before any strategy shards it.
        row_length: T, tokens of a row.

    Source: PaLM (arXiv 2204.02311), appendix B.
    """
    lookups = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    multiplied = sum(p.numel() for p in model.parameters() if p.ndim > 1 and id(p) not in lookups)
    head = model.get_output_embeddings()
    if isinstance(head, nn.Module) and id(head.weight) in lookups:
        multiplied += head.weight.numel()  # type: ignore[operator]
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 0
    size = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else 0)
    return float(6 * multiplied + 12 * config.num_hidden_layers * row_length * heads * size)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of the fastest matrix product found in less than half a second."""
    generator = torch.Generator(device).manual_seed(0)
    best, size = 0.0, 256
    while True:
        a = torch.randn(size, size, device=device, generator=generator).to(dtype)
        seconds = min(_seconds(a) for _ in range(REPEATS))
        best = max(best, 2 * size**3 / seconds)
        if size == LARGEST or 8 * REPEATS * seconds > BENCHMARK_SECONDS:
            return best
        size *= 2


def _seconds(a: torch.Tensor) -> float:
    """Of one product; the first one on a GPU also loads its library."""
    started = time.perf_counter()
    a @ a
    if a.device.type != "cpu":
        torch.accelerator.synchronize(a.device)
    return time.perf_counter() - started


def peak_memory_mb(device: torch.device) -> float:
    """Most memory in MiB: allocated on a GPU while training, else resident in this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEBI
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts in bytes, everyone else in KiB.
    return most / (MEBI if sys.platform == "darwin" else 1024)


def device_name(device: torch.device) -> str:
    """A GPU's own name, or such as "cpu (AMD EPYC 7763 64-Core Processor, 2 threads)"."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type != "cpu":
        return str(device)
    return f"cpu ({_processor()}, {torch.get_num_threads()} threads)"


def _processor() -> str:
    """Its name; Python itself knows only the architecture on Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
