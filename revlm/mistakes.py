"""What the user can mend, as one line: what is wrong, where, and the way out."""

from __future__ import annotations

import difflib
import errno
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from revlm.composition import compose, groups, quoted
from revlm.errors import UserError, missing_extra

# Options of training, and what other commands call them.
COUNTERPARTS = {
    "tokenizer.path": "model.tokenizer",
    "tokenizer.begin": "model.begin",
    "data.window": "window",
}


def mistake(error: Exception, command: str, places: Sequence[str] = (".",)) -> UserError:
    """An error as a line for the user; anything that the user cannot mend is raised again.

    Args:
        error: out of the command.
        command: its name.
        places: folders that it writes to.
    """
    if isinstance(error, UserError):
        return _in_terms_of(error, command)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return UserError(_explain(error, command))
    if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
        return missing
    if _is_full_disk(error):
        return UserError(_no_space(places, command))
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError | IsADirectoryError):
        return UserError(
            f"{error.filename}: {error.strerror or error}: choose another folder or mend this one."
        )
    raise error


def check_given(config: DictConfig, command: str) -> None:
    """Name what the command line must say and does not, all of it at once."""
    if missing := [f"{key!s}=" for key in config if OmegaConf.is_missing(config, key)]:
        raise UserError(f"{' and '.join(missing)} must be given. {_all_options(command)}")


def _all_options(command: str) -> str:
    return f"All options: python -m revlm.{command} --help"


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether a full disk lies behind an error, however libraries have wrapped it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _no_space(places: Sequence[str], command: str) -> str:
    """One line about a full disk: the fullest of those that a command writes to."""
    existing = []
    for place in places:
        path = Path(place).absolute()
        while not path.exists():
            path = path.parent
        existing.append(path)
    fullest = min(existing, key=lambda path: shutil.disk_usage(path).free)
    free = shutil.disk_usage(fullest).free
    known = _options(command)
    written = " and ".join(
        f"{name}=" for name in ("out", "run.root", "run.dir", "cache.dir") if name in known
    )
    return (
        f"no space left on the disk of {fullest} ({free / 1e6:.1f} MB free): "
        f"free some, or put {written} on another disk."
    )


def _options(command: str) -> set[str]:
    return set(_flatten(OmegaConf.to_container(compose(command), resolve=False)))


def _in_terms_of(error: UserError, command: str) -> UserError:
    """An error with the names that its command has for options: what commands share speaks of training's."""
    text, known = str(error), None
    for theirs, ours in COUNTERPARTS.items():
        pattern = rf"(?<![\w./]){re.escape(theirs)}(?==)"
        if re.search(pattern, text):
            known = known or _options(command)
            if theirs not in known and ours in known:
                text = re.sub(pattern, ours, text)
    return error if text == str(error) else UserError(text)


def _explain(error: Exception, command: str) -> str:
    """What is wrong, the nearest right name, and where all of them are listed."""
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and name.startswith(("joblib", "submitit")):
            return f"{group}={name} is not installed: pip install 'revlm[cluster]'"
        near = _nearest(name, error.options)
        return f"{group}={name}: there is no such choice.{near} Choices: {', '.join(error.options)}."
    # Hydra wraps what OmegaConf says; the inner one knows the key and the type.
    while isinstance(error.__cause__, (HydraException, OmegaConfBaseException)):
        error = error.__cause__
    text = str(error)
    full_key = re.search(r"full_key: (\S+)", text)
    override = re.search(r"Could not override '([^'@]+)", text)
    if override or "not in" in text:
        key = override[1] if override else full_key[1] if full_key else text.splitlines()[0]
        return f"{_no_option(key, command)} {_all_options(command)}"
    if already := re.search(r"An item is already at '([^']+)'", text):
        return f"{already[1]}: there is such an option: write {already[1]}= without the +. {_all_options(command)}"
    where = f"{full_key[1]}: " if full_key else ""
    if isinstance(error, OverrideParseException):
        key, equals, value = str(error.override).partition("=")
        if equals and value:
            instead = shlex.quote(f"{key}={quoted(value)}")
            return f"{error.override}: this value needs quotes, and a shell needs more: {instead}. {_all_options(command)}"
        where = f"{error.override}: not of the form key=value: "
    return f"{where}{text.splitlines()[0].rstrip('.')}. {_all_options(command)}"


def _no_option(key: str, command: str) -> str:
    if key in groups():
        return f"{key}= is not chosen by default: write +{key}=NAME."
    known = [*groups(), *_flatten(OmegaConf.to_container(compose(command), resolve=False))]
    return f"{key}: there is no such option.{_nearest(key, known)}"


def _nearest(name: str, known: Sequence[str]) -> str:
    leaf = name.rsplit(".", 1)[-1]
    leaves = {k.rsplit(".", 1)[-1]: k for k in reversed(known)}
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    close = close or [leaves[c] for c in difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.6)]
    return f" Did you mean {close[0]}?" if close else ""


def _flatten(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    keys = [f"{prefix}{key}" for key in node]
    return keys + [deep for key in node for deep in _flatten(node[key], f"{prefix}{key}.")]
