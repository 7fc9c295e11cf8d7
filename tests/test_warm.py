"""Forked commands are what a new Python would run: the shortcut that other tests take is none for the numbers."""

import array
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests import warm

SEEN = "import os, sys; print('torch' in sys.modules, os.getcwd(), sys.argv[1:], os.environ.get('REVLM_X')); sys.exit(3)"


@pytest.fixture
def seen(python, tmp_path):
    """What a module in the current folder sees, started with some environment variables."""
    (tmp_path / "seen.py").write_text(SEEN)

    def run(*arguments, **env):
        command = [python, "-m", "seen", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | env, capture_output=True, text=True, check=False
        )

    return run


def test_a_command_has_its_own_arguments_folder_environment_and_exit_code(seen, tmp_path, pytestconfig):
    """Nothing of one command is left for the next."""
    warm = not pytestconfig.getoption("--fresh")
    for value in ("one", "two"):
        done = seen(value, "a b", REVLM_X=value)
        expected = f"{warm} {tmp_path} [{value!r}, 'a b'] {value}\n"
        assert (done.returncode, done.stdout, done.stderr) == (3, expected, "")


@pytest.mark.parametrize("turn", [1, 2])
def test_what_a_test_sets_in_the_environment_is_gone_before_the_next(turn):
    """Commands of later tests would start in another environment than a user's."""
    assert "REVLM_X" not in os.environ
    os.environ["REVLM_X"] = str(turn)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "PYTHONHASHSEED"])
def test_an_environment_that_comes_too_late_for_a_fork_starts_a_new_python(seen, name):
    """Libraries read some variables while they are imported."""
    assert seen(**{name: "1"}).stdout.startswith("False ")


def test_the_python_that_a_study_is_given_starts_no_new_one(seen, python, pytestconfig):
    """run.sh takes its Python from a variable whose name begins like those that Python itself reads."""
    assert seen(PYTHON=python).stdout.startswith(f"{not pytestconfig.getoption('--fresh')} ")


@pytest.mark.parametrize("arguments", [["--help"], ["runs=nowhere"], ["rnus=1"]])
def test_a_forked_command_says_what_a_new_one_says(python, tmp_path, arguments):
    """Output, errors and exit code, to the byte."""
    said = [
        subprocess.run(
            [program, "-m", "revlm.collect", *arguments],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        for program in (python, sys.executable)
    ]
    warm, fresh = [(done.returncode, done.stdout, done.stderr) for done in said]
    assert warm == fresh


def is_there(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_caller_that_is_asked_to_end_hands_it_on(python, tmp_path, number):
    """A signal to what a test has started reaches the process that does the work, and its exit code comes back."""
    (tmp_path / "waits.py").write_text(
        "import signal, sys, time\n"
        f"signal.signal({number.value}, lambda number, _: sys.exit(number))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    caller = subprocess.Popen([python, "-m", "waits"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert caller.stdout.readline() == "ready\n"
    caller.send_signal(number)
    assert caller.wait(timeout=30) == number


def test_a_signal_that_comes_before_the_command_is_known_is_handed_on(tmp_path):
    """Whoever hears a command's first word may send a signal before its caller knows which process it is."""
    address = str(tmp_path / "socket")
    (tmp_path / "socket.json").write_text(json.dumps(warm.read_at_start()))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        caller = subprocess.Popen([sys.executable, "-IS", warm.__file__, address, "-m", "waits"])
        connection, _ = listener.accept()
    with connection:
        connection.recv(1 << 20)
        caller.send_signal(signal.SIGTERM)
        command = subprocess.Popen(["/bin/sleep", "60"])
        time.sleep(0.2)
        connection.sendall(array.array("i", [command.pid]).tobytes())
        code = command.wait(timeout=30)
        connection.sendall(array.array("i", [code]).tobytes())
    assert (code, caller.wait(timeout=30)) == (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_a_caller_that_is_killed_takes_its_command_along(python, tmp_path):
    """SIGKILL of what a test has started reaches the process that does the work."""
    (tmp_path / "waits.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    caller = subprocess.Popen([python, "-m", "waits"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    worker = int(caller.stdout.readline())
    caller.kill()
    # It holds the other end of the pipe until it is dead.
    assert caller.communicate(timeout=10) == ("", None)
    deadline = time.monotonic() + 10
    while is_there(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_there(worker)
