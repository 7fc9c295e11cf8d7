"""One door for all commands: Hydra composes, mistakes become one line and exit code 2."""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from revlm.composition import COMMANDS, compose, conf_dir, declared, plain, quoted, register
from revlm.config.marks import PATH, SHORT, VERBATIM, at_home, marked, named
from revlm.errors import UserError
from revlm.mistakes import check_given, mistake
from revlm.stopping import Stopped, close_by, speaks, stoppable

__all__ = ["compose", "conf_dir", "declared", "plain", "register", "run"]

# Hydra's own paths that a command line may set.
HYDRA_PATHS = ("hydra.run.dir", "hydra.sweep.dir")
# What Hydra's grammar takes for a text without quotes, but for these words.
PLAIN, WORDS = re.compile(r"[A-Za-z_/.][\w./-]*", re.ASCII), {"true", "false", "inf", "nan"}
# Values of several jobs that Hydra makes itself.
FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort)\(.*\)$")
# What a shell reports of a process that wrote to a closed pipe.
NOBODY_READS = 141
# What is left of a command that is stopped, where that is more than nothing.
KEPT = {
    "train": "the same command with run.dir= and ckpt_path=last continues from the run's last checkpoint, if it has one.",
    "score": "finished shards are kept; the same command continues.",
    "evaluate": "finished models and directions are kept; the same command does the others.",
}


def run(task: Callable[[Any], None]) -> NoReturn:
    """Compose the options of the command line, run a command on them and exit.

    Args:
        task: the command; its options are those of its name in COMMANDS.

    Exit codes: 0 done, 2 for what the user can mend (one line, no traceback), 130, 138 and 143 when SIGINT, SIGUSR1 or
    SIGTERM stopped it (one line too), 141 when nobody reads the output any more. Anything else is a bug and keeps its
    traceback.
    """
    command = task.__name__
    register()
    prose, sys.argv[1:] = for_hydra(sys.argv[1:], COMMANDS[command])
    # Hydra prints and exits by itself unless it is told to raise.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with (
            stoppable(KEPT.get(command, "nothing is left half-written; the same command starts again.")),
            _while_read(),
        ):
            refused = _refused(task, command, prose)
            if refused:
                print(f"error: {refused}", file=sys.stderr)
    except Stopped as stop:
        if speaks():
            print(stop, file=sys.stderr)
        close_by(stop.code)
        _leave(stop.code)
    except SystemExit as end:
        # Hydra ends --help in this way.
        _leave(end.code)
    _leave(2 if refused else 0)


def _refused(task: Callable[[Any], None], command: str, prose: dict[str, str]) -> UserError | None:
    """Let Hydra run the command; what the user must mend before it can run, if anything."""
    refused: list[UserError] = []

    def job(config: DictConfig) -> None:
        try:
            check_given(config, command)
            options = declared(command, config)
            for name, value in prose.items():
                setattr(options, name, value)
            with _while_read():
                task(options)
        except Exception as error:
            places = [
                OmegaConf.select(config, key, throw_on_resolution_failure=False)
                for key in ("run.dir", "cache.dir")
            ]
            line = mistake(error, command, [at_home(place) for place in places if place])
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise line from error
            # Kept from Hydra, which would print more than the one line.
            refused.append(line)

    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=command)(job)()
    except Exception as error:  # noqa: BLE001 -- what is no mistake is raised again
        return mistake(error, command)
    return refused[0] if refused else None


def _leave(code: Any) -> NoReturn:
    """Exit, quietly also when nobody reads what is still to be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = NOBODY_READS
    if code == NOBODY_READS:
        # The interpreter writes once more what is left, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


@contextmanager
def _while_read() -> Iterator[None]:
    """Exit when nobody reads stdout or stderr any more; any other pipe that breaks is a bug."""
    try:
        yield
    except BrokenPipeError as error:
        watch = select.poll()
        for stream in (sys.stdout, sys.stderr):
            watch.register(stream.fileno(), 0)
        if not any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0)):
            raise
        raise SystemExit(NOBODY_READS) from error


def for_hydra(arguments: Sequence[str], schema: type) -> tuple[dict[str, str], list[str]]:
    """A command line in Hydra's grammar, which has no `~` and takes names such as 2024_01 and 2e5 for numbers.

    Args:
        arguments: as the user gives them.
        schema: the command's options, whose types and marks say what `model=` is short for, which values are names,
            which of those are paths and may begin with `~`, and which are prose.

    Returns:
        Prose by option, and everything else for Hydra.
    """
    long = {name.partition(".")[0]: name for name in marked(schema, SHORT)}
    paths, verbatim = {*marked(schema, PATH), *HYDRA_PATHS}, set(marked(schema, VERBATIM))
    names = dict(named(schema)) | dict.fromkeys(HYDRA_PATHS, False)
    # Files below conf/sweep turn a command into several jobs by themselves.
    asked = ("-m", "--multirun", "sweep=", "hydra.mode=MULTIRUN")
    sweep = any(each.lstrip("+").startswith(asked) for each in arguments)
    prose, rest = {}, []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        name = long.get(name, name)
        plain_name = name.lstrip("+")
        if not equals:
            rest.append(argument)
        elif name in verbatim:
            prose[name] = value
        elif plain_name in names:
            spelt = _spelt(value, lists=names[plain_name], sweep=sweep, path=plain_name in paths)
            rest.append(f"{name}={spelt}")
        else:
            rest.append(f"{name}={value}")
    return prose, rest


def _spelt(value: str, *, lists: bool, sweep: bool, path: bool) -> str:
    """A name, a list or a sweep of names, so that Hydra takes each for what it is.

    Args:
        value: as the user gives it: null, `${...}`, what stands in quotes, and a sweep's functions keep their meaning.
        lists: whether brackets make a list of it.
        sweep: whether commas separate the values of several jobs.
        path: whether `~` is the home folder.
    """
    if lists and value[:1] == "[" and value[-1:] == "]":
        inside = _split(value[1:-1]) if value[1:-1].strip() else []
        return (
            "[" + ",".join(_spelt(item.strip(), lists=False, sweep=False, path=path) for item in inside) + "]"
        )
    if sweep and not FUNCTION.match(value) and len(items := _split(value)) > 1:
        return ",".join(_spelt(item, lists=lists, sweep=False, path=path) for item in items)
    in_quotes = re.fullmatch(r"""(['"])(.*)\1""", value, re.DOTALL)
    if in_quotes and path and in_quotes[2][:1] == "~":
        return quoted(at_home(in_quotes[2]))
    if in_quotes or value in ("", "null") or "${" in value or (sweep and FUNCTION.match(value)):
        return value
    value = at_home(value) if path else value
    return value if PLAIN.fullmatch(value) and value.lower() not in WORDS else quoted(value)


def _split(value: str) -> list[str]:
    """Parts between commas that stand in no quotes and no brackets."""
    parts = re.findall(r"""((?:'(?:\\.|[^'])*'|"(?:\\.|[^"])*"|\[[^]]*\]|[^,])*)(?:,|$)""", value)
    return parts[:-1] if len(parts) > 1 and not value.endswith(",") else parts


def tell_unreadable(lines: Sequence[str], rest: str) -> None:
    """Name the files that could not be read, after everything else is done.

    Args:
        lines: a file and a reason each.
        rest: what was done with everything else, and where.

    Raises:
        UserError: if there is any such file, for the exit code.
    """
    for line in lines:
        print(f"unreadable: {line}", file=sys.stderr)
    if lines:
        raise UserError(f"{len(lines)} file(s) could not be read; {rest}")
