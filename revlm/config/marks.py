"""How the command line treats an option, marked where the option is declared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

# A file or folder, or a glob of them: `~` is the home folder. Hub ids and package:file stay as they are.
PATH = {"path": True}
# `model=X` is short for `model.path=X`. Hydra would take it for a choice of training's group of the same name.
SHORT = {"short": True}
# Prose, taken as it stands: Hydra's grammar has its own ideas about commas, quotes and brackets.
VERBATIM = {"verbatim": True}


def marked(schema: Any, mark: dict[str, bool]) -> Iterator[str]:
    """Dotted names of all options of a command that carry a mark."""
    hints = get_type_hints(schema)
    for each in fields(schema):
        if mark.items() <= each.metadata.items():
            yield each.name
        for kind in filter(is_dataclass, (hints[each.name], *get_args(hints[each.name]))):
            yield from (f"{each.name}.{name}" for name in marked(kind, mark))


def named(schema: Any) -> Iterator[tuple[str, bool]]:
    """Dotted names of all options of a command that hold a text, and whether they may hold a list of texts."""
    hints = get_type_hints(schema)
    for each in fields(schema):
        hint = hints[each.name]
        kinds = {hint, *get_args(hint)}
        for kind in filter(is_dataclass, kinds):
            yield from ((f"{each.name}.{name}", lists) for name, lists in named(kind))
        # What has any type is one text, or a list of them.
        lists = hint is Any or list[str] in kinds
        if lists or (str in kinds and get_origin(hint) is not dict):
            yield each.name, lists


def at_home(value: Any) -> Any:
    """A path, or a list of paths, with the home folder in place of `~`; anything else stays."""
    if isinstance(value, list):
        return [at_home(item) for item in value]
    # Path.expanduser raises for a user that there is not.
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111


def expand_paths(options: Any) -> None:
    """Expand all paths among options in place."""
    for each in fields(options):
        value = getattr(options, each.name)
        if is_dataclass(value):
            expand_paths(value)
        elif PATH.items() <= each.metadata.items():
            setattr(options, each.name, at_home(value))
