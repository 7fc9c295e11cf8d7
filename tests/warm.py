"""A Python with the large libraries imported already: a command forked from it starts in a tenth of the time.

    python -P warm.py serve SOCKET           imports, then forks a process for each command that is asked for
    python -IS warm.py SOCKET -m revlm.X ...  a command, as `python -m revlm.X ...` would run it

Each command is a process of its own, with its own arguments, folder, environment and exit code, that imports revlm
itself. Only the libraries of others are there before it begins. A command whose environment they would have read while
they were imported starts as a new Python. Signals that ask its caller to end reach the command.
"""

import array
import json
import os
import socket
import sys

LIBRARIES = (
    "datasets", "datatrove.executor", "hydra.main", "lightning", "lm_eval.models.huggingface", "matplotlib.pyplot",
    "pandas", "scipy.stats", "torchdata.stateful_dataloader", "torchmetrics", "transformers.models.llama.modeling_llama",
    "wandb", "wandb.sdk.launch.inputs.internal",
)  # fmt: skip

# What Python and the libraries read when they start, by the beginnings of names. PYTHON alone is ours: run.sh starts it.
READ_AT_START = ("HF_", "LD_", "MKL_", "MPL", "OMP_", "PYTHON", "TORCH", "TRANSFORMERS_")


def serve(address: str) -> list[str]:
    """Fork for each command; in the fork, the arguments of the command."""
    import contextlib
    import gc
    import importlib
    from pathlib import Path

    # Before the libraries change some of it.
    Path(f"{address}.json").write_text(json.dumps(read_at_start()))
    for name in LIBRARIES:
        importlib.import_module(name)
    # What is there stays there: no fork has to copy it for the sake of collecting it.
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            caller, _ = listener.accept()
            # A keeper waits for the command, so that several may run at a time.
            if os.fork() == 0:
                listener.close()
                return keep(caller)
            caller.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def keep(caller: socket.socket) -> list[str]:
    """Fork once more, and tell the caller how the command ended."""
    request, descriptors, _, _ = socket.recv_fds(caller, 1 << 20, 3)
    command = os.fork()
    if command == 0:
        caller.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return enter(**json.loads(request))
    caller.sendall(array.array("i", [command]).tobytes())
    status = wait(command, caller)
    caller.sendall(array.array("i", [os.waitstatus_to_exitcode(status)]).tobytes())
    os._exit(0)


def wait(command: int, caller: socket.socket) -> int:
    """How a command ended; one whose caller is killed is killed too."""
    import select
    import signal

    while True:
        ended, status = os.waitpid(command, os.WNOHANG)
        if ended:
            return status
        # A caller says nothing more: what can be read is its end.
        if select.select([caller], [], [], 0.02)[0]:
            os.kill(command, signal.SIGKILL)
            os.waitpid(command, 0)
            os._exit(0)


def enter(arguments: list[str], folder: str, environment: dict[str, str]) -> list[str]:
    """Become a process as the caller would have started it."""
    import random

    import numpy as np

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    np.random.seed()  # noqa: NPY002 -- what a new process has
    sys.path.insert(0, folder)
    return arguments


def read_at_start() -> dict[str, str]:
    """The part of the environment that is too late for a process forked from here."""
    named = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    return {name: value for name, value in named.items() if name.startswith(READ_AT_START)}


def ask(address: str, arguments: list[str]) -> int:
    """Have a command run, and wait for its exit code."""
    import signal

    with open(f"{address}.json") as file:  # noqa: PTH123 -- starts sooner
        if json.load(file) != read_at_start():
            os.execv(sys.executable, [sys.executable, *arguments])
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109 -- starts sooner
    command, early = 0, list[int]()

    def hand_on(number: int, _: object) -> None:
        if command:
            os.kill(command, number)
        else:
            early.append(number)

    # Before the command can say a word: whoever hears it may send a signal at once.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, hand_on)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
        (command,) = array.array("i", server.recv(4))
        for number in early:
            os.kill(command, number)
        (code,) = array.array("i", server.recv(4))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        import runpy

        _, module, *rest = serve(sys.argv[2])
        sys.argv[1:] = rest
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif sys.argv[2] == "-m":
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
    else:
        os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
