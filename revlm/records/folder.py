"""A run's folder: who may write into it, and what it remembers of its options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from revlm.cache import write_atomically
from revlm.config.marks import at_home
from revlm.errors import UserError

# Written last: a folder that holds it is a finished run.
SUMMARY = "summary.json"
CONFIG, METRICS = "config.yaml", "metrics.jsonl"
# What may differ between the sittings of one run: where it runs, and how long it goes.
FREE = (
    "name",
    "arm",
    "ckpt_path",
    "estimate",
    "run.",
    "cache.",
    "logger.",
    "budget.tokens",
    "budget.validations",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.log_every_n_steps",
    "trainer.progress_bar",
    "trainer.checkpoint_every_n_steps",
)
# What a run settles when it begins, and what a short one on a processor comes to: without an option of its own it continues
# as it began.
SETTLED = {"trainer.precision": "32-true", "trainer.compile": False}


def is_first_rank() -> bool:
    """Whether this process keeps the records, also before any process group exists."""
    # Pages read this module, and they never wait for torch.
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0)) == 0


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a run folder against other processes.

    Raises:
        UserError: another process holds it.
    """
    if not is_first_rank():
        # Ranks of one run share its folder; the first holds it.
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{folder} is in use by another process: wait for it, or choose another run.dir=."
        ) from error
    try:
        yield
    finally:
        lock.release()


def start(folder: Path, config: dict[str, Any]) -> None:
    """Write config.yaml into a fresh folder.

    Raises:
        UserError: the folder holds a run already.
    """
    for name, state in ((SUMMARY, "a finished run"), ("checkpoints/last.ckpt", "an unfinished run")):
        if (folder / name).exists():
            raise UserError(
                f"{folder} holds {state}: continue it with ckpt_path=last, or choose another run.dir=."
            )
    write_config(folder, config)


def check_same_run(folder: Path, config: dict[str, Any]) -> None:
    """Refuse to continue a run under options that would make it another.

    Raises:
        UserError: the first option that differs, with both values.
    """
    path = folder / CONFIG
    if not path.exists():
        return
    old, new = flatten(OmegaConf.to_container(OmegaConf.load(path))), flatten(config)
    for key in sorted(old.keys() | new.keys()):
        if key in SETTLED and new.get(key) in (None, "auto"):
            continue
        # Older runs wrote paths as they were given.
        if not key.startswith(FREE) and at_home(old.get(key)) != new.get(key):
            raise UserError(
                f"{folder} was started with {key}={old.get(key)}, not {new.get(key)}: "
                "give the same options to continue it, or choose another run.dir=."
            )


def settled(folder: Path) -> dict[str, Any]:
    """How a run's trainer was set when it began; nothing where there is no run yet."""
    path = folder / CONFIG
    options = OmegaConf.to_container(OmegaConf.load(path)) if path.exists() else {}
    return dict(cast(dict[str, Any], options).get("trainer", {}))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """config.yaml, resolved."""
    write_atomically(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(config)))


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Nested options as dotted keys."""
    if not isinstance(node, dict):
        return {prefix.rstrip("."): node}
    return {k: v for key in node for k, v in flatten(node[key], f"{prefix}{key}.").items()}
