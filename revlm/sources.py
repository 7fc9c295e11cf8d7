"""Which models a command means: `model=`, a list, or a pair."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from revlm.composition import conf_dir
from revlm.config import ModelSource
from revlm.errors import UserError

KINDS = "a run's model/ folder, an export, a hub id, or smollm2"


def known_model(name: str) -> str:
    """What a name under conf/model stands for: the source of its weights; other names stay."""
    path = conf_dir() / "model" / f"{name}.yaml"
    if "/" in name or not path.is_file():
        return name
    pretrained = cast(DictConfig, OmegaConf.load(path)).get("pretrained")
    if not pretrained:
        raise UserError(f"model={name} has no weights yet: train it first, and give model=runs/.../model.")
    return str(pretrained)


def one_model(source: ModelSource) -> str:
    """For a command that reads with one model.

    Raises:
        UserError: none is named, or several are.
    """
    if not isinstance(source.path, str) or not source.path:
        raise UserError(f"model={source.path}: name one model: {KINDS}.")
    return known_model(source.path)


def each_model(source: ModelSource) -> list[str]:
    """For a command that reads with one model after the other.

    Raises:
        UserError: none is named, or a pair is.
    """
    if source.forward is not None or source.reverse is not None:
        raise UserError(
            "model.forward= and model.reverse= are for scoring: evaluate takes model=, or a list."
        )
    names = _names(source.path)
    if not names:
        raise UserError(f"model={source.path}: name {KINDS}; or a list such as model=[A,B].")
    return [known_model(name) for name in dict.fromkeys(names)]


def readers(source: ModelSource) -> dict[str, tuple[str, str | None]]:
    """For a command that reads both ways.

    Returns:
        Name -> (model, None) for each that reads both ways, or of one pair (forward, reverse).

    Raises:
        UserError: none is named, both kinds are, or two have one name.
    """
    if (source.forward is None) != (source.reverse is None):
        raise UserError("model.forward= and model.reverse= go together: give both, or one model with model=.")
    if (source.path is None) == (source.forward is None):
        raise UserError(
            "nothing says which model: give model=runs/.../model, model=smollm2 or a hub id, "
            "or a pair with model.forward= and model.reverse= (not both kinds)."
        )
    names = _names(source.path if source.forward is None else source.forward)
    if not names:
        raise UserError(f"model={source.path}: give one name, or a list of names such as model=[A,B].")
    from revlm.models.language_model import model_names

    reverse = None if source.reverse is None else known_model(source.reverse)
    models = [known_model(name) for name in names]
    return {name: (model, reverse) for name, model in zip(model_names(models), models, strict=True)}


def _names(path: Any) -> list[str]:
    """One name or a list of them; empty where there is anything else among them."""
    names: list[str] = path if isinstance(path, list) else [path]
    return names if all(isinstance(name, str) and name for name in names) else []
