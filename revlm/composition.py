"""From conf/, the option classes and overrides to options: what Hydra knows of revlm."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from revlm import config as schemas
from revlm.cache import digest
from revlm.config.choices import CHOICES, model_of
from revlm.config.marks import at_home, expand_paths

# The options of each command. Its YAML file and its function have its name.
COMMANDS: dict[str, type] = {
    "train": schemas.TrainConfig,
    "score": schemas.ScoreConfig,
    "contexts": schemas.ContextsConfig,
    "select": schemas.SelectConfig,
    "evaluate": schemas.EvaluateConfig,
    "generate": schemas.GenerateConfig,
    "export": schemas.ExportConfig,
    "collect": schemas.CollectConfig,
    "report": schemas.ReportConfig,
    "dashboard": schemas.DashboardConfig,
    "cost": schemas.CostConfig,
}
LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"


class Registered(dict[str, Any]):
    """What Hydra's store holds, in one copy that all share.

    Hydra copies the store for each list of choices that `--help` prints and for each composition, only to read it, and
    copies what it loads from there once more: without the first copy --help takes one second instead of five.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Registered:
        return self


def conf_dir() -> Path:
    """The folder of YAML files: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def choices(group: str) -> list[str]:
    """Names of the YAML files of a group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def groups() -> list[str]:
    """Names of all groups."""
    return sorted({*CHOICES, *(path.name for path in conf_dir().iterdir() if path.is_dir())})


def run_id(root: str, name: str, ckpt_path: str | None) -> str:
    """A new run's name, or with `ckpt_path=last` the newest run that holds a checkpoint."""
    if ckpt_path == "last":
        runs = Path(at_home(root)) / name
        found = sorted(runs.glob(f"*/{LAST_CHECKPOINT}"), key=lambda p: p.stat().st_mtime)
        if found:
            return found[-1].parent.parent.name
    return time.strftime("%Y-%m-%d_%H-%M-%S")


def hydra_folder(folder: str, estimate: bool) -> str:
    """Where Hydra makes a run's folder: for an estimate, which leaves none behind, where nobody looks."""
    return f"{tempfile.gettempdir()}/revlm-estimates" if estimate else at_home(folder)


def run_key(*options: Any) -> str:
    """A folder's name that follows from options: the same command finds its folder again."""
    values = [OmegaConf.to_container(o, enum_to_str=True) if OmegaConf.is_config(o) else o for o in options]
    return digest(*values)[:12]


def register() -> None:
    """Make the option classes, the choices that have no file, and the resolvers known to Hydra."""
    store = ConfigStore.instance()
    if not isinstance(store.repo, Registered):
        for command, schema in COMMANDS.items():
            store.store(name=f"{command}_schema", node=schema)
        for group, found in CHOICES.items():
            for name, node in found.items():
                store.store(group=group, name=name, node=node)
        store.repo = Registered(store.repo)
    OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)
    for resolver in (run_key, model_of, at_home, hydra_folder):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


def compose(command: str, overrides: Iterable[str] = (), **options: Any) -> DictConfig:
    """The options of a command as Hydra composes them, before they are resolved.

    Args:
        command: a key of COMMANDS.
        overrides: in Hydra's grammar.
        options: of `hydra.compose`.
    """
    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose(command, list(overrides), **options)


def declared(command: str, config: DictConfig) -> Any:
    """Composed options as an object of the command's class, resolved, with `~` expanded.

    Keys that a + on the command line added beside the declared ones are refused.
    """
    values = OmegaConf.to_container(config, resolve=True)
    options = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(COMMANDS[command]), values))
    expand_paths(options)
    return options


def plain(config: Any) -> dict[str, Any]:
    """Options as plain values, choices by name: for files, W&B and checkpoints."""
    structured = OmegaConf.structured(config)
    container = OmegaConf.to_container(structured, resolve=True, enum_to_str=True)
    return cast(dict[str, Any], container)


def quoted(value: str) -> str:
    """A text in Hydra's grammar, which reads a backslash only before a quote."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\'", value) + "'"
