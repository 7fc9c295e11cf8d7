"""What a stretch of code needs at its peak."""

from __future__ import annotations

import resource
import threading
import time
from types import TracebackType
from typing import Self

import psutil

INTERVAL_SECONDS = 0.02


class Peak:
    """Measures while its block runs.

    Attributes:
        seconds: of the block.
        resident_mb: the process's highest resident memory so far.
        anonymous_mb: highest part of it that is no file: what a machine must have, since mapped
            files can be dropped.
    """

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._anonymous, self._done = 0, threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._started = time.perf_counter()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and keep what was seen."""
        self.seconds = time.perf_counter() - self._started
        self._done.set()
        self._watcher.join()
        self.resident_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        self.anonymous_mb = self._anonymous // 1_000_000

    def _watch(self) -> None:
        process = psutil.Process()
        done = False
        # Once at least, however short the block is.
        while not done:
            memory = process.memory_info()
            self._anonymous = max(self._anonymous, memory.rss - memory.shared)
            done = self._done.wait(INTERVAL_SECONDS)
