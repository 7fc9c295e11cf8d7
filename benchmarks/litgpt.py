"""litgpt as a peer: its process lives beside ours and takes steps when it is told to."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parent / "peers" / "litgpt_steps.py"
SIZES = {"llama_1m": (128, 352, 4), "llama_4m": (256, 688, 8)}


class Litgpt:
    """Times steps of litgpt's own model in an environment of its own; it cannot share ours."""

    def __init__(self, python: str, model: str, *, warm: int, steps: int) -> None:
        width, inner, heads = SIZES[model]
        command = [python, str(SCRIPT), *map(str, (width, inner, heads, warm, steps))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> float:
        """Seconds of the steps behind the warm-up."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("litgpt's process has no pipes")
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())
