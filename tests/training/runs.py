"""Runs in processes of their own: signalled at a step, and compared by what they leave."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import torch

SMOKE = ("+experiment=from_scratch_mixed", "scale=smoke", "logger=none", "budget.tokens=10_000")
DDP = ("trainer.strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
# No test waits longer for a process.
SECONDS = 180


def rows(folder):
    """The numbers of a run, without those that a clock makes."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "train/tokens_per_second"} for line in lines]


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def assert_same_run(folder, other):
    """Two finished runs took the same steps and came to the same: to the bit."""
    assert rows(folder) == rows(other)
    for mine, theirs in zip(weights(folder).values(), weights(other).values(), strict=True):
        assert torch.equal(mine, theirs)
    for name in ("curves.csv", "curves_first.csv", "intersection.json", "samples.txt"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def signalled(command, folder, number, cache_dir, *, step=26, group=False, again=()):
    """Start a run in a process, send it a signal once its record holds a step; it ends, and no process of it is left.

    Args:
        command: words of the command line.
        folder: of the run.
        number: the signal.
        cache_dir: of prepared text.
        step: that the record must hold.
        group: whether the signal goes to all processes of the run; the command is a new Python then.
        again: seconds after which the signal is sent once more, each counted from the one before.

    Returns:
        The ended process, with what it said.
    """
    process = subprocess.Popen(
        command,
        env=os.environ | {"REVLM_CACHE": str(cache_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts its background jobs deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 -- takes no lock
    )
    try:
        metrics = folder / "metrics.jsonl"
        deadline = time.monotonic() + SECONDS
        while not (metrics.exists() and f'"step": {step},' in metrics.read_text()):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        for pause in (0, *again):
            time.sleep(pause)
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(process.pid, number)
        # Pipes end with the last process that holds them.
        out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(command, process.returncode, out, err)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
