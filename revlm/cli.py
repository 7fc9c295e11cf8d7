"""One door for all commands: Hydra composes, mistakes become one line and exit code 2."""

from __future__ import annotations

import difflib
import errno
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from revlm import config as schemas
from revlm.cache import digest
from revlm.errors import UserError, missing_extra

LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"


def conf_dir() -> Path:
    """The folder of YAML files: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def run_id(root: str, name: str, ckpt_path: str | None) -> str:
    """A new run's name, or with `ckpt_path=last` the newest run that holds a checkpoint."""
    if ckpt_path == "last":
        found = sorted((Path(root) / name).glob(f"*/{LAST_CHECKPOINT}"), key=lambda p: p.stat().st_mtime)
        if found:
            return found[-1].parent.parent.name
    return time.strftime("%Y-%m-%d_%H-%M-%S")


def run_key(*options: Any) -> str:
    """A folder's name that follows from options: the same command finds its folder again."""
    values = [OmegaConf.to_container(o, enum_to_str=True) if OmegaConf.is_config(o) else o for o in options]
    return digest(*values)[:12]


def known_model(name: str) -> str:
    """What a name under conf/model stands for: the source of its weights; other names stay."""
    path = conf_dir() / "model" / f"{name}.yaml"
    if "/" in name or not path.is_file():
        return name
    pretrained = cast(DictConfig, OmegaConf.load(path)).get("pretrained")
    if not pretrained:
        raise UserError(f"model={name} has no weights yet: train it first, and give model=runs/.../model.")
    return str(pretrained)


def scored_models(source: schemas.ModelSource) -> list[tuple[str, str | None]]:
    """What a command that reads both ways is to read with.

    Returns:
        (model, None) for each that reads both ways, or one (forward, reverse).

    Raises:
        UserError: none is named, or both kinds are.
    """
    if (source.forward is None) != (source.reverse is None):
        raise UserError("model.forward= and model.reverse= go together: give both, or one model with model=.")
    if (source.path is None) == (source.forward is None):
        raise UserError(
            "nothing says which model: give model=runs/.../model, model=smollm2 or a hub id, "
            "or a pair with model.forward= and model.reverse= (not both kinds)."
        )
    if source.forward is not None and source.reverse is not None:
        return [(known_model(source.forward), known_model(source.reverse))]
    names = source.path if isinstance(source.path, list) else [source.path]
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"model={source.path}: give one name, or a list of names such as model=[A,B].")
    return [(known_model(name), None) for name in names]


def register() -> None:
    """Make the option classes and the resolvers known to Hydra."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=schemas.TrainConfig)
    store.store(name="report_schema", node=schemas.ReportConfig)
    store.store(name="collect_schema", node=schemas.CollectConfig)
    store.store(name="dashboard_schema", node=schemas.DashboardConfig)
    store.store(name="score_schema", node=schemas.ScoreConfig)
    store.store(name="contexts_schema", node=schemas.ContextsConfig)
    store.store(name="select_schema", node=schemas.SelectConfig)
    store.store(name="evaluate_schema", node=schemas.EvaluateConfig)
    store.store(name="generate_schema", node=schemas.GenerateConfig)
    store.store(name="export_schema", node=schemas.ExportConfig)
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("run_key", run_key, replace=True)


def run(
    task: Callable[[Any], None],
    *,
    schema: type,
    config_name: str,
    short: Sequence[str] = (),
    verbatim: Sequence[str] = (),
) -> NoReturn:
    """Compose the options of the command line, run `task` on them and exit.

    Args:
        task: the command.
        schema: of its options.
        config_name: its YAML file.
        short: options such as `model.path` that may be given as `model=`. Hydra would take that
            for a choice of training's group of the same name.
        verbatim: options whose value is taken as it stands, for prose: Hydra's grammar has its own
            ideas about commas, quotes and brackets.

    Exit codes: 0 done, 2 for what the user can mend (one line, no traceback), 130 interrupted.
    Anything else is a bug and keeps its traceback.
    """
    register()
    prose, rest = _split_off(sys.argv[1:], verbatim)
    sys.argv[1:] = [_lengthen(argument, short) for argument in rest]
    # Hydra prints and exits by itself unless it is told to raise.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    refused: list[UserError] = []

    def job(config: DictConfig) -> None:
        try:
            _check_given(config, config_name)
            # Merging anew refuses keys that a + on the command line added beside the declared ones.
            plain_values = OmegaConf.to_container(config, resolve=True)
            declared = OmegaConf.merge(OmegaConf.structured(schema), plain_values)
            options = OmegaConf.to_object(declared)
            for name, value in prose.items():
                setattr(options, name, value)
            task(options)
        except Exception as error:
            places = [
                OmegaConf.select(config, key, throw_on_resolution_failure=False)
                for key in ("run.dir", "cache.dir")
            ]
            mistake = _mistake(error, config_name, [place for place in places if place])
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise mistake from error
            # Kept from Hydra, which would print more than the one line.
            refused.append(mistake)

    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(job)()
    except Exception as error:  # noqa: BLE001 -- what is no mistake is raised again
        refused.append(_mistake(error, config_name))
    except KeyboardInterrupt:
        sys.exit(130)
    if refused:
        print(f"error: {refused[0]}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def _check_given(config: DictConfig, config_name: str) -> None:
    """Name what the command line must say and does not, all of it at once."""
    missing = [f"{key!s}=" for key in config if OmegaConf.is_missing(config, key)]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} must be given. All options: python -m revlm.{config_name} --help"
        )


def _split_off(arguments: Sequence[str], names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Values of `name=value` for some names, and all other arguments."""
    found, rest = {}, []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in names:
            found[name] = value
        else:
            rest.append(argument)
    return found, rest


def _lengthen(argument: str, short: Sequence[str]) -> str:
    for option in short:
        group = option.partition(".")[0]
        if argument.startswith(f"{group}="):
            return option + argument.removeprefix(group)
    return argument


def plain(config: Any) -> dict[str, Any]:
    """Options as plain values, choices by name: for files, W&B and checkpoints."""
    structured = OmegaConf.structured(config)
    container = OmegaConf.to_container(structured, resolve=True, enum_to_str=True)
    return cast(dict[str, Any], container)


def no_space(places: Sequence[str]) -> str:
    """One line about a full disk: the fullest of those that a command writes to."""
    existing = []
    for place in places:
        path = Path(place).expanduser().absolute()
        while not path.exists():
            path = path.parent
        existing.append(path)
    fullest = min(existing, key=lambda path: shutil.disk_usage(path).free)
    free = shutil.disk_usage(fullest).free
    return (
        f"no space left on the disk of {fullest} ({free / 1e6:.1f} MB free): "
        "free some, or put run.root= and cache.dir= on another disk."
    )


def _mistake(error: Exception, config_name: str, places: Sequence[str] = (".",)) -> UserError:
    """What the user can mend, as one line; anything else is raised again."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, HydraException | OmegaConfBaseException):
        return UserError(_explain(error, config_name))
    if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
        return missing
    if _is_full_disk(error):
        return UserError(no_space(places))
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError | IsADirectoryError):
        return UserError(
            f"{error.filename}: {error.strerror or error}: choose another folder or mend this one."
        )
    raise error


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether a full disk lies behind an error, however libraries have wrapped it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _explain(error: Exception, config_name: str) -> str:
    """What is wrong, the nearest right name, and where all of them are listed."""
    everything = f"All options: python -m revlm.{config_name} --help"
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
        if key in _groups():
            return f"{key}= is not chosen by default: write +{key}=NAME. {everything}"
        return f"{key}: there is no such option.{_nearest(key, _known_options(config_name))} {everything}"
    where = f"{full_key[1]}: " if full_key else ""
    if isinstance(error, OverrideParseException):
        where = f"{error.override}: not of the form key=value: "
    return f"{where}{text.splitlines()[0].rstrip('.')}. {everything}"


def _nearest(name: str, known: Sequence[str]) -> str:
    leaf = name.rsplit(".", 1)[-1]
    leaves = {k.rsplit(".", 1)[-1]: k for k in reversed(known)}
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    close = close or [leaves[c] for c in difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.6)]
    return f" Did you mean {close[0]}?" if close else ""


def _known_options(config_name: str) -> list[str]:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra.compose(config_name)
    return [*_groups(), *_flatten(OmegaConf.to_container(config, resolve=False))]


def _groups() -> list[str]:
    return sorted(path.name for path in conf_dir().iterdir() if path.is_dir())


def _flatten(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    keys = [f"{prefix}{key}" for key in node]
    return keys + [deep for key in node for deep in _flatten(node[key], f"{prefix}{key}.")]
