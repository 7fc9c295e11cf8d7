"""Signals that ask a command to end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from revlm.stopping import SIGNALS, Stopped, stoppable


@pytest.fixture
def heard():
    """No signal is ignored while a test runs, and afterwards all is as before."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signal_again_and_again(number):
    with stoppable("again"):
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            for each in SIGNALS:
                os.kill(os.getpid(), each)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_once(number):
    """What follows finds the command on its way out, through the last line of it."""
    with pytest.raises(Stopped, match=f"^stopped by {number.name}: again$") as stopped:
        signal_again_and_again(number)
    os.kill(os.getpid(), number)
    assert stopped.value.code == 128 + number


@pytest.mark.usefixtures("heard")
def test_handlers_are_restored():
    """A command that ends by itself leaves signals as they were."""
    with stoppable(""):
        assert all(signal.getsignal(number) is not signal.SIG_DFL for number in SIGNALS)
    assert all(signal.getsignal(number) is signal.SIG_DFL for number in SIGNALS)


@pytest.mark.usefixtures("heard")
def test_what_is_ignored_stays_ignored():
    """A shell starts its background jobs deaf to ^C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stoppable(""):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)


@pytest.mark.usefixtures("heard")
def test_a_forked_process_ends_as_any_other():
    """Pools end their workers with SIGTERM; the command hears nothing of it."""
    with stoppable(""):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        time.sleep(0.05)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        time.sleep(0.05)


STUCK = """
import hashlib
from revlm import stopping
stopping.SECONDS_TO_LEAVE = 0.2
with stopping.stoppable("again."):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)
"""


def test_a_command_that_computes_outside_python_ends_in_time():
    """No handler of Python's runs before a library returns; the line is said and the process is gone."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, said) == (143, "stopped by SIGTERM: again.\n")


STAYING = """
import os, signal, time
from revlm import stopping
stopping.SECONDS_TO_LEAVE = 0.2
try:
    with stopping.stoppable("again."):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
except stopping.Stopped:
    time.sleep(0.6)
    print("still here")
"""


def test_a_command_that_has_left_leaves_no_deadline_behind():
    """A process that goes on, as under a test runner or in a notebook, is not ended by the stop before."""
    done = subprocess.run(
        [sys.executable, "-c", STAYING], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "still here\n"), done.stderr


LOADER = """
import os, signal, subprocess, time
from torch.utils.data import DataLoader
from revlm.stopping import end_with_parent
class Slow:
    def __len__(self): return 6
    def __getitem__(self, index):
        time.sleep(0.2)
        return index
loader = iter(DataLoader(Slow(), batch_size=None, num_workers=2, worker_init_fn=end_with_parent))
read = [next(loader)]
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
    subprocess.run(["/bin/sh", "-c", f"kill -{number.value} 0"])
read += loader
workers = loader._workers
loader = None
print(read, [worker.exitcode for worker in workers])
stuck = iter(DataLoader(Slow(), batch_size=None, num_workers=1, worker_init_fn=end_with_parent))
next(stuck)
stuck._workers[0].terminate()
stuck._workers[0].join(10)
print(stuck._workers[0].exitcode)
"""


def test_a_loaders_worker_hears_only_its_parent():
    """A signal to all processes of a run kills no worker; the SIGTERM of the process that it works for does."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "[0, 1, 2, 3, 4, 5] [0, 0]\n0\n", done.stderr
