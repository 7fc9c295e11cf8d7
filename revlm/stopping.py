"""Signals that ask a command to end: it leaves by itself, says so in one line, and is gone within half a minute."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import Popen
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Schedulers kill half a minute after they have asked; a command that is not gone by then ends where it is.
SECONDS_TO_LEAVE = 20
# What Python and libraries may take to close down behind that.
SECONDS_TO_CLOSE = 5


class Stopped(BaseException):
    """Someone asked the command to end.

    Like KeyboardInterrupt it is no `Exception`: no library may take it for an error of its own and go on. Lightning
    turns a KeyboardInterrupt into exit code 1, so SIGINT raises this too.

    Attributes:
        signal: that asked.
        text: what the user can do now.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(number, text)
        self.signal, self.text = signal.Signals(number), text

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}: {self.text}"

    @property
    def code(self) -> int:
        """What a shell reports of a process that a signal has ended."""
        return 128 + self.signal


class _Watch:
    """What a command does about signals while `stoppable` lasts."""

    def __init__(self, text: str) -> None:
        self.text, self.leaving = text, False
        self.release: Callable[[], list[Popen[Any]]] = list
        self._timer: threading.Timer | None = None

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Raise at the first signal; those that follow find the command on its way out."""
        if not self.leaving:
            self.leave(number, self.text)

    def leave(self, number: int, text: str) -> NoReturn:
        self.leaving, self.text = True, text
        self._limit(number)
        raise Stopped(number, text)

    def read(self, pipe: int) -> None:
        """Hear of signals at once; Python's handlers wait until the main thread comes back from C."""
        while number := os.read(pipe, 1):
            if number[0] in SIGNALS:
                self.release()
                if signal.getsignal(number[0]) == self.stop:
                    self._limit(number[0])

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _limit(self, number: int) -> None:
        if self._timer is None:
            self._timer = threading.Timer(SECONDS_TO_LEAVE, self._break_off, [number])
            self._timer.daemon = True
            self._timer.start()

    def _break_off(self, number: int) -> None:
        for child in self.release():
            child.kill()
            child.wait()
        if speaks():
            # The main thread may hold sys.stderr.
            os.write(2, f"{Stopped(number, self.text)}\n".encode())
        os._exit(128 + number)


# The command under way, if there is one.
_watches: list[_Watch] = []


@contextmanager
def stoppable(text: str) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGUSR1 raise `Stopped` in the main thread, each unless it is ignored already.

    Nothing is left half-written: files and folders appear whole or not at all. Handlers are as before afterwards; after
    a stop, when the process is about to end, further signals are ignored.

    Args:
        text: what the user can do after a stop, unless `leave` says more.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watch = _Watch(text)
    reader = threading.Thread(target=watch.read, args=(reading,), daemon=True, name="signals")
    reader.start()
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _watches.append(watch)
    before = listen(watch.stop)
    try:
        yield
    except KeyboardInterrupt as error:
        # From a library that has a handler of its own.
        raise Stopped(signal.SIGINT, text) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if watch.leaving else handler)
        _watches.remove(watch)
        signal.set_wakeup_fd(woken)
        os.close(writing)
        reader.join()
        os.close(reading)
        watch.end()


def listen(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Hear the signals, except those that are ignored: a shell starts its background jobs deaf to SIGINT.

    Returns:
        The handlers before, by signal.
    """
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, handler)
    return heard


def leave(number: int, text: str) -> NoReturn:
    """Stop here, and see to it that the command is gone in time; further signals change nothing.

    Args:
        number: the signal that asked.
        text: what the user can do now.

    Raises:
        Stopped: always.
    """
    if _watches:
        _watches[-1].leave(number, text)
    raise Stopped(number, text)


def close_by(code: int) -> None:
    """End the process with an exit code in some seconds, whatever still closes down."""
    timer = threading.Timer(SECONDS_TO_CLOSE, os._exit, [code])
    timer.daemon = True
    timer.start()


def own(release: Callable[[], list[Popen[Any]]]) -> None:
    """Name the command's other processes.

    Args:
        release: called at every signal, from another thread: gives them, and has whoever watches them let go. Those that
            are there when the time is up are killed.
    """
    if _watches:
        _watches[-1].release = release


def speaks() -> bool:
    """Whether this process is the one of its run that says the line: the others say the same."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((rank for rank in ranks if rank is not None), "0") == "0"


def end_with_parent(worker: int) -> None:
    """Make a loader's worker deaf to every signal but its parent's SIGTERM: what asks a whole run to end may reach it.

    Args:
        worker: its number, which loaders hand over.
    """
    del worker
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    # Only Linux tells who has sent a signal.
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_parent, daemon=True, name="signals").start()


def _wait_for_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _forget() -> None:
    """A fork is another process: signals to it say nothing about the command."""
    if _watches:
        _watches.clear()
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget)
