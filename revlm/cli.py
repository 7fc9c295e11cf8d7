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

from revlm.composition import COMMANDS, compose, conf_dir, declared, plain, register
from revlm.config.marks import PATH, SHORT, VERBATIM, at_home, marked
from revlm.errors import UserError
from revlm.mistakes import check_given, mistake

__all__ = ["compose", "conf_dir", "declared", "plain", "register", "run"]

# Hydra's own paths that a command line may set.
HYDRA_PATHS = ("hydra.run.dir", "hydra.sweep.dir")
# What a shell reports of a process that wrote to a closed pipe.
NOBODY_READS = 141


def run(task: Callable[[Any], None]) -> NoReturn:
    """Compose the options of the command line, run a command on them and exit.

    Args:
        task: the command; its options are those of its name in COMMANDS.

    Exit codes: 0 done, 2 for what the user can mend (one line, no traceback), 130 interrupted, 141 when nobody reads
    the output any more. Anything else is a bug and keeps its traceback.
    """
    command = task.__name__
    register()
    prose, sys.argv[1:] = for_hydra(sys.argv[1:], COMMANDS[command])
    # Hydra prints and exits by itself unless it is told to raise.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with _while_read():
            refused = _refused(task, command, prose)
            if refused:
                print(f"error: {refused}", file=sys.stderr)
    except KeyboardInterrupt:
        _leave(130)
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
    """A command line in Hydra's grammar, which has no `~`.

    Args:
        arguments: as the user gives them.
        schema: the command's options, whose marks say what `model=` is short for, which values are paths and may
            begin with `~`, and which are prose.

    Returns:
        Prose by option, and everything else for Hydra.
    """
    long = {name.partition(".")[0]: name for name in marked(schema, SHORT)}
    paths, verbatim = {*marked(schema, PATH), *HYDRA_PATHS}, set(marked(schema, VERBATIM))
    prose, rest = {}, []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        name = long.get(name, name)
        if not equals:
            rest.append(argument)
        elif name in verbatim:
            prose[name] = value
        else:
            rest.append(f"{name}={_expanded(value) if name.lstrip('+') in paths else value}")
    return prose, rest


def _expanded(value: str) -> str:
    """A path, a list or a sweep of them, with the home folder in place of each `~` that one begins with."""

    def at_its_place(found: re.Match[str]) -> str:
        before, quote, user, bare = found.groups()
        home: str = at_home(user or bare)
        return f"{before}{quote}" + home.replace(quote, f"\\{quote}") if quote else before + quoted(home)

    return re.sub(r"""(^|[,[(]\s*)(?:(['"])(~[^/'"]*)|(~[^],[()]*))""", at_its_place, value)


def quoted(value: str) -> str:
    """A text in Hydra's grammar, which reads a backslash only before a quote."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\'", value) + "'"


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
