"""Make a hub folder out of a finished run: `python -m revlm.export run=runs/from_scratch_mixed/ID out=FOLDER`."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from revlm import cli
from revlm.composition import choices, quoted
from revlm.config import ExportConfig, TrainConfig
from revlm.errors import UserError
from revlm.models import FACTS

CARD = "README.md"
# Options of one machine or one sitting: another one trains the same model without them.
LOCAL = ("run.", "cache.", "logger.", "ckpt_path", "trainer.progress_bar")


def export(config: ExportConfig) -> None:
    """The run's model, its figures and its card, in a folder that appears whole or not at all."""
    from revlm.cache import replacing_folder
    from revlm.pages.files import Folder
    from revlm.pages.runs.model_card import Exported, model_card, upload
    from revlm.pages.runs.run import read_run

    out = Path(config.out)
    _check_out(out, overwrite=config.overwrite)
    run = read_run(config.run)
    files = _model_files(run.folder / "model")
    figures = sorted((run.folder / "figures").glob("*.png"))
    described = Folder(run.folder, "train this run again")
    exported = Exported(
        facts=described.json(f"model/{FACTS}", ("directions", "window")),
        tokenizer=described.json("model/tokenizer_config.json"),
        figures=[figure.name for figure in figures],
        command=training_command(run.config),
        folder=out.resolve().name,
    )
    card = model_card(run, exported)
    with replacing_folder(out) as building:
        for file in files:
            shutil.copyfile(file, building / file.name)
        (building / CARD).write_text(card, encoding="utf-8")
        if figures:
            (building / "figures").mkdir()
        for figure in figures:
            shutil.copyfile(figure, building / "figures" / figure.name)
    print(f"Set license: in {out / CARD}, then send it to the hub: {upload(str(out))}")
    print(out)


def _check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse to replace anything but an earlier export, and that only when asked."""
    if out.exists() and not out.is_dir():
        raise UserError(f"out={out} is a file: name a folder.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(
            f"out={out} is not empty: choose another folder, or overwrite=true to replace an earlier export."
        )
    if not (out / CARD).is_file() or not (out / FACTS).is_file():
        raise UserError(
            f"out={out} is no earlier export, so nothing there is replaced: choose another folder."
        )


def _model_files(folder: Path) -> list[Path]:
    """Everything under model/, once its weights are known to be whole."""
    from safetensors import SafetensorError, safe_open

    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UserError(
            f"{folder}: no safetensors there: train with python -m revlm.train, or give another run=."
        )
    for path in weights:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged ({error}): train this run again.") from error
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != CARD)


def training_command(recorded: dict[str, Any]) -> str | None:
    """The shortest command found whose options, composed here, are those that a run recorded.

    Args:
        recorded: the run's config.yaml.

    Returns:
        A shell line, or None where no command of this version gives the same options.
    """
    name, model = str(recorded["name"]), str(recorded.get("model", {}).get("name"))
    experiment = [f"+experiment={name}"] if name in choices("experiment") else []
    bases = [
        [*experiment, f"scale={scale}", *named]
        for scale in choices("scale")
        for named in ([], *([[f"model={model}"]] if model in choices("model") else []))
    ]
    candidates = [base + _overrides(recorded, base) for base in bases]
    command = min(candidates, key=len)
    try:
        if _overrides(recorded, command):
            return None
    except (HydraException, OmegaConfBaseException):
        # An option that this version does not have any more.
        return None
    return shlex.join(["python", "-m", "revlm.train", *command])


def _overrides(recorded: dict[str, Any], base: list[str]) -> list[str]:
    """What must stand behind `base` on the command line to give the recorded options."""
    from revlm.records.folder import SETTLED, flatten

    config = OmegaConf.to_container(cli.compose("train", base), resolve=False)
    declared = OmegaConf.merge(OmegaConf.structured(TrainConfig), config)
    composed = flatten(OmegaConf.to_container(declared, resolve=False, enum_to_str=True))
    wanted = {key: value for key, value in flatten(recorded).items() if not key.startswith(LOCAL)}
    if wanted.get("arm") == OmegaConf.create(recorded | {"arm": composed["arm"]}).arm:
        # It follows from other options.
        del wanted["arm"]
    for key, usual in SETTLED.items():
        if wanted.get(key) == usual:
            # The same command settles it again.
            del wanted[key]
    # A run that is older than an option has its default; a model has no options but its own.
    surplus = [key for key in composed if key.startswith("model.config.") and key not in wanted]
    return [f"~{key}" for key in surplus] + [
        f"{'' if key in composed else '+'}{key}={_spelt(value)}"
        for key, value in wanted.items()
        if key not in composed or composed[key] != value
    ]


def _spelt(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_spelt, value))}]"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z_][\w./-]*", value):
        return quoted(value)
    return str(value)


if __name__ == "__main__":
    cli.run(export)
