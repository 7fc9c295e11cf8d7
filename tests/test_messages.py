"""Each message names options that its command has, and values that work when they are copied onto the command line."""

import importlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import get_args, get_origin, get_type_hints

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from revlm import cli
from revlm.cli import for_hydra
from revlm.composition import COMMANDS, groups
from revlm.config import ModelConfig
from revlm.config.marks import SHORT, marked
from revlm.errors import UserError
from revlm.mistakes import _no_space, check_given, mistake
from revlm.models import backbone
from tests.conftest import TINY

# What stands in a message for a name that the user knows.
PLACEHOLDERS = re.compile(r"[A-Z]+$|.*\.\.\.")
FILES = ("data=files", "data.path=texts/*.txt")
UNCAPPED = ("data.max_documents=null", "data.max_bytes=null", "data.max_bytes_per_domain=null")
HALF = (*FILES, "data.val_fraction=0.5")
MODEL = ("model=model", "min_tokens=2")
SCORES = ("scores=model", "budget_tokens=10")
SMOKE = ("scale=smoke", "logger=none", "trainer.progress_bar=false")
# Command, its arguments, and words of what is wrong, so that another refusal is no success.
SITUATIONS = [
    ("train", (*SMOKE, "data=files", "data.path=nothing/*.jsonl"), "matches no readable file"),
    ("train", (*SMOKE, *HALF, "budget.batch_size=1000"), "fewer than one batch"),
    ("train", (*SMOKE, "data=files", "data.path=bad.jsonl"), "is null"),
    ("train", (*SMOKE, "data=files", "data.path=twice.jsonl"), "occurs twice"),
    ("train", (*SMOKE, "data=files", "data.path=asked.jsonl", "data.text=[]"), "name a column"),
    ("train", (*SMOKE, *FILES, "data.val_fraction=0.001"), "into validation"),
    ("train", (*SMOKE, "data=labelled"), "for evaluation only"),
    ("train", (*SMOKE, "direction=forward", "direction.reverse_ratio=0.5"), "choose both together"),
    ("train", (*SMOKE, "init=trained"), "no pretrained weights"),
    ("train", (*SMOKE, *HALF, "tokenizer.path=nowhere/at/all"), "no tokenizer could be read"),
    ("train", (*SMOKE, *HALF, "tokenizer.path=model", "tokenizer.begin=[CLS]"), "has no token"),
    ("train", (*SMOKE, *HALF, "tokenizer.vocab_size=100"), "cannot hold all bytes"),
    ("train", (*SMOKE, *HALF, "+model.config.max_position_embeddings=16"), "model's context"),
    ("train", (*SMOKE, *HALF, "model=custom"), "says no size"),
    ("train", ("experiment=from_scratch_mixed",), "not chosen by default"),
    ("train", ("data.path=x", "data.windw=3"), "no such option"),
    ("train", (*SMOKE, "+data.format=auto"), "without the +"),
    ("score", FILES, "nothing says which model"),
    ("score", ("model.forward=model", *FILES), "go together"),
    ("score", ("model=[model,model]", *FILES), "twice"),
    ("score", ("model=llama_1m", *FILES), "no weights yet"),
    ("score", (*MODEL, *FILES, "min_tokens=100000"), "no document has"),
    ("score", (*MODEL, *FILES, "window=1000"), "model's context"),
    ("score", (*MODEL, *FILES, "model.precision=bf17"), "choose one of"),
    ("score", (*MODEL, *FILES, "model.device=nothing"), "not available"),
    ("score", (*MODEL, *FILES, "model.tokenizer=nowhere/at/all"), "no tokenizer could be read"),
    ("score", (*MODEL, *FILES, "model.begin=[CLS]"), "has no token"),
    ("score", (*MODEL, "data.source=arrow", "data.domains=null", *UNCAPPED), "no end of its own"),
    ("score", (*MODEL, "data=hub"), "without a name"),
    ("score", (*MODEL, "data=sample", "data.domains=[bbc_newz]"), "domain"),
    ("score", (*MODEL, "data=files", "data.path=strange.bin"), "ending"),
    ("score", ("model.forward=model", "model.reverse=model", *FILES), "was not trained on"),
    ("contexts", FILES, "nothing says which model"),
    ("contexts", ("model=model", *FILES, "window=64"), "is even"),
    ("contexts", ("model=model", *FILES, "stride=3"), "not an even number"),
    ("contexts", ("model=model", *FILES, "window=1001"), "longer than"),
    ("select", (), "must be given"),
    ("select", (*SCORES, *FILES), "no score table"),
    ("select", (*SCORES, "rule=dsir", "rule.target=null"), "resembles a target"),
    ("select", (*SCORES, "rule=random", "temperature=1"), "changes nothing"),
    ("evaluate", ("model=model",), "must be given"),
    ("evaluate", ("tasks=[piqa]",), "a list such as"),
    ("evaluate", ("model.forward=a", "model.reverse=b", "tasks=[piqa]"), "are for scoring"),
    ("evaluate", ("model=model", "tasks=[]"), "nothing to do"),
    ("evaluate", ("model=model", "tasks=[piqa]", "direction=both"), "choose one of"),
    ("evaluate", ("model=model", "tasks=[bad.jsonl]"), "no field"),
    ("evaluate", ("model=model", "tasks=[asked.jsonl]", "direction=reverse"), "was trained forward"),
    ("evaluate", ("model=model", "tasks=[unanswered.jsonl]"), "no gold label"),
    ("generate", ("model=model",), "say what to write from"),
    ("generate", ("model=model", "text=a", "samples=2", "temperature=0"), "the same text"),
    ("generate", ("model=model", "text=a", "num_tokens=1000"), "positions"),
    ("generate", ("model=model", "text=a", "direction=reverse"), "was trained forward"),
    ("generate", ("model=model", "file=nothing.txt"), "one prompt a line"),
    ("generate", ("model=model", "text=a", "model.tokenizer=nowhere/at/all"), "no tokenizer could be read"),
    ("generate", ("model=model", "text=a", "temperature=-1"), "0 or more"),
    ("export", ("run=model",), "must be given"),
    ("export", ("run=model", "out=asked.jsonl"), ""),
    ("report", ("runs=nothing",), "no finished run"),
    ("report", ("runs=null", "experiments=texts"), "no study"),
    ("collect", ("runs=texts", "out=kept"), "no finished run"),
    ("collect", ("runs=texts", "out=kept", "keep=[everything]"), "no such record"),
    ("dashboard", ("out=bad.jsonl",), "not the JSON of a dashboard"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory, tokenizer, cache_dir):
    """A folder with a small model and files that are wrong in different ways."""
    folder = tmp_path_factory.mktemp("place")
    torch.manual_seed(0)
    model = backbone.from_config(ModelConfig(config={**TINY, "max_position_embeddings": 130}), tokenizer, 130)
    backbone.export(model, tokenizer, folder / "model", {})
    (folder / "texts").mkdir()
    for number in range(12):
        words = " ".join(f"word {number * k % 7} and more" for k in range(30))
        (folder / "texts" / f"{number}.txt").write_text(f"{number}. {words}.")
    question = {"question": "Is it?", "options": ["yes", "no"]}
    (folder / "unanswered.jsonl").write_text(json.dumps(question))
    (folder / "asked.jsonl").write_text(json.dumps(question | {"answer": "yes"}))
    (folder / "bad.jsonl").write_text('{"text": null}\n')
    (folder / "twice.jsonl").write_text('{"id": "a", "text": "one"}\n{"id": "a", "text": "two"}\n')
    (folder / "strange.bin").write_text("a")
    return folder


@pytest.fixture
def refused(place, tmp_path, monkeypatch):
    """What a command says of its arguments, in this process."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(command, arguments):
        try:
            prose, overrides = for_hydra(arguments, COMMANDS[command])
            config = cli.compose(command, overrides, return_hydra_config=command == "train")
            if command == "train":
                with open_dict(config):
                    config.hydra.runtime.output_dir = config.run.dir = str(tmp_path / "run")
                HydraConfig.instance().set_config(config)
                del config.hydra
            check_given(config, command)
            options = cli.declared(command, config)
            for name, value in prose.items():
                setattr(options, name, value)
            getattr(importlib.import_module(f"revlm.{command}"), command)(options)
        except Exception as error:  # noqa: BLE001 -- what is no mistake is raised again
            return str(mistake(error, command, [str(tmp_path)]))
        return pytest.fail("nothing was refused")

    yield run
    HydraConfig.instance().cfg = None


def options_of(schema, before: str = "") -> Iterator[str]:
    """Dotted names of all options, those inside of optional ones included."""
    hints = get_type_hints(schema)
    for each in fields(schema):
        hint = hints[each.name]
        inside = [kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)]
        for kind in inside:
            yield from options_of(kind, f"{before}{each.name}.")
        if not inside:
            yield f"{before}{each.name}" + (".*" if get_origin(hint) is dict else "")


@cache
def chosen(command: str) -> set[str]:
    """Groups of which a command has a choice, and options in short."""
    given = cli.compose(command, return_hydra_config=True).hydra.runtime.choices
    short = {name.partition(".")[0] for name in marked(COMMANDS[command], SHORT)}
    # With a + in front, which the messages show.
    return (
        {name for name in given if name in groups()}
        | short
        | ({"experiment"} if command == "train" else set())
    )


def named_in(message: str, command: str) -> Iterator[tuple[str, str, str]]:
    """Command, option and value of each `option=value` in a message."""
    # What follows the name of a command is for that command.
    parts = re.split(r"python -m revlm\.(\w+)", message)
    for spoken, part in zip([command, *parts[1::2]], parts[::2], strict=True):
        for name, value in re.findall(
            r"(?<![\w./'-])\+?((?:[a-z_]\w*\.)*[a-z_]\w*)=(?!=)(\[[^]]*\]|[^\s;,)]*)", part
        ):
            yield spoken, name, value.rstrip(".:'")


@pytest.mark.parametrize(("command", "arguments", "wrong"), SITUATIONS)
def test_the_way_out_works_when_it_is_copied(refused, command, arguments, wrong):
    """Every option in the message is one of the command's, and what is proposed composes."""
    message = refused(command, arguments)
    assert wrong in message
    for spoken, name, value in named_in(message, command):
        known = {*options_of(COMMANDS[spoken]), *chosen(spoken)}
        free = any(name.startswith(each.removesuffix("*")) for each in known if each.endswith(".*"))
        assert name in known or free or "no such option" in message, (
            f"{spoken} has no option {name}: {message}"
        )
        if value and f"{name}={value}" not in arguments and not PLACEHOLDERS.match(value):
            plus = "+" if f"+{name}=" in message else ""
            prose, overrides = for_hydra([f"{plus}{name}={value}"], COMMANDS[spoken])
            if not prose:
                cli.compose(spoken, overrides)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_names_the_folders_that_the_command_has(command, tmp_path):
    """Only what it writes to, or keeps there, can be put elsewhere."""
    message = _no_space([str(tmp_path)], command)
    known = set(options_of(COMMANDS[command]))
    names = [name for _, name, _ in named_in(message, command)]
    assert names
    assert set(names) <= known


def test_what_is_wrong_with_a_target_is_told_of_the_target(refused):
    """The text that dsir resembles is another corpus than the one that was scored."""
    from revlm.select import _of_the_target

    told = _of_the_target("data=files: data.path=/a/data.text: no field 'b' (data.text): set data.text.")
    assert told == (
        "rule.target.source=files: rule.target.path=/a/data.text: no field 'b' (rule.target.text): set rule.target.text."
    )


def test_options_of_training_are_called_what_the_command_calls_them():
    """A tokenizer is tokenizer.path= in training and model.tokenizer= elsewhere."""
    error = UserError("/x/tokenizer.path=1: set tokenizer.path=null.")
    assert str(mistake(error, "score")) == "/x/tokenizer.path=1: set model.tokenizer=null."
    assert mistake(error, "train") is error
