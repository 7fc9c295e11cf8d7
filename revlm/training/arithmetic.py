"""How a run computes: its precision, and whether its body is compiled. Settled once and kept by the run's folder."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import torch

from revlm.config import TrainerConfig
from revlm.models.precision import has_bfloat16_units
from revlm.training.strategies import SHARDED

AUTO = "auto"
# Compiling costs half a minute at first and some seconds from a cache, and saves a tenth to a quarter of a run. Runs of
# more operations than these take ten minutes or more, on two cores or one GPU.
WORTH_COMPILING = {"cpu": 1e14, "cuda": 1e17}


def settle(options: TrainerConfig, remembered: dict[str, object], *, flops: float) -> None:
    """Put a choice in the place of `auto` and null.

    Args:
        options: of the trainer; changed.
        remembered: what the run was begun with, where it is continued: it computes on in the same way.
        flops: floating-point operations of the whole run, forward and backward.
    """
    device = torch.device("cuda" if _on_gpu(options.accelerator) else "cpu")
    if options.precision == AUTO:
        options.precision = str(remembered.get("precision", AUTO))
    if options.precision == AUTO:
        # On processors S is the same to rounding wherever it is measured; docs/numbers.md has what bfloat16 changes.
        on_gpu = device.type == "cuda" and has_bfloat16_units(device)
        options.precision = "bf16-mixed" if on_gpu else "32-true"
    if options.compile is None and remembered:
        options.compile = bool(remembered.get("compile"))
    if options.compile is None:
        pays = flops > WORTH_COMPILING[device.type] and options.strategy not in SHARDED
        options.compile = pays and can_compile(device)


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile finds what it writes code for: a C++ compiler, or Triton on a GPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return device.type == "cpu" and any(map(shutil.which, ("g++", "clang++", "c++")))


def keep_compiled(cache_dir: Path) -> None:
    """Let compiled code lie with what else is computed once, and be found by the next run."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir / "compiled"))


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
