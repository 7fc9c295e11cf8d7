"""`python -m revlm.export`: a folder that strangers can use."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer

from revlm.config import ExportConfig, TrainConfig
from revlm.errors import UserError
from revlm.export import export, training_command
from revlm.models.language_model import LanguageModel


@pytest.fixture(scope="module")
def exported(smoke_run, tmp_path_factory):
    """A finished mixed run as an exported folder."""
    out = tmp_path_factory.mktemp("hub") / "my model"
    export(ExportConfig(run=str(smoke_run), out=str(out)))
    return out


def altered(run: Path, folder: Path, **facts) -> Path:
    """A copy of a run whose model says something else of itself."""
    shutil.copytree(run, folder)
    path = folder / "model" / "revlm.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    return folder


def code_blocks(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)\n```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_holds_the_runs_model_and_nothing_of_its_machine(exported, smoke_run):
    """Weights, tokenizer, configurations and figures are the run's, byte for byte; a card stands beside."""
    files = tree(exported)
    card = files.pop("README.md")
    expected = tree(smoke_run / "model")
    expected |= {f"figures/{p.name}": p.read_bytes() for p in (smoke_run / "figures").glob("*.png")}
    assert files == expected
    assert {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "revlm.json",
    } <= set(files)
    assert str(smoke_run.parent).encode() not in card


def test_plain_transformers_opens_it(exported, smoke_run):
    """Weights are the trained ones, and the tokenizer gives text back."""
    model = AutoModelForCausalLM.from_pretrained(exported)
    trained = AutoModelForCausalLM.from_pretrained(smoke_run / "model")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), trained.parameters(), strict=True))
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer.decode(tokenizer("今天 👩‍👩‍👧‍👦")["input_ids"]) == "今天 👩‍👩‍👧‍👦"


@pytest.mark.parametrize("tag", [False, True])
def test_the_code_of_the_card_runs_and_writes_what_revlm_writes(
    smoke_run, tmp_path, monkeypatch, capsys, tag
):
    """Both directions with transformers alone, tags included, equal revlm's greedy text in reading order."""
    out = tmp_path / "mine"
    export(ExportConfig(run=str(altered(smoke_run, tmp_path / "run", tag=tag, window=62)), out=str(out)))
    forward, reverse, revlm = code_blocks(out)
    assert "revlm" not in forward + reverse
    assert "revlm" in revlm
    monkeypatch.chdir(tmp_path)
    lm = LanguageModel.open(str(out))
    capsys.readouterr()
    for code, direction, prompt in (
        (forward, "forward", "Once upon a time"),
        (reverse, "reverse", " and they lived happily ever after."),
        (revlm, "reverse", " and they lived happily ever after."),
    ):
        exec(code, {})
        shown = capsys.readouterr().out.removesuffix("\n")
        assert shown == lm.write(prompt, direction=direction, temperature=0, num_tokens=31)
        assert (shown.startswith if direction == "forward" else shown.endswith)(prompt)


def test_a_card_promises_no_plain_code_for_other_units(smoke_run, tmp_path):
    """Reversing words takes revlm: the card says so instead of showing code that reverses tokens."""
    run = altered(smoke_run, tmp_path / "run", granularity="word")
    export(ExportConfig(run=str(run), out=str(tmp_path / "out")))
    assert len(code_blocks(tmp_path / "out")) == 2
    assert "reverses is words" in (tmp_path / "out" / "README.md").read_text()


def test_every_figure_that_the_card_shows_is_there(exported):
    """And every figure that is there is shown."""
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (exported / "README.md").read_text())
    assert sorted(shown) == sorted(f"figures/{p.name}" for p in (exported / "figures").iterdir())
    assert shown


def test_an_earlier_export_is_replaced_only_when_asked(smoke_run, tmp_path):
    """Nothing else is ever replaced: not another folder, not a file, and a refusal changes nothing."""
    out = tmp_path / "out"
    out.mkdir()
    config = ExportConfig(run=str(smoke_run), out=str(out))
    export(config)
    (out / "README.md").write_text("edited")
    with pytest.raises(UserError, match="is not empty: choose another folder, or overwrite=true"):
        export(config)
    assert (out / "README.md").read_text() == "edited"
    (out / "leftover.txt").write_text("old")
    export(ExportConfig(run=str(smoke_run), out=str(out), overwrite=True))
    assert (out / "README.md").read_text() != "edited"
    assert not (out / "leftover.txt").exists()
    before = tree(smoke_run)
    with pytest.raises(UserError, match="is no earlier export, so nothing there is replaced"):
        export(ExportConfig(run=str(smoke_run), out=str(smoke_run), overwrite=True))
    assert tree(smoke_run) == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file: name a folder"):
        export(ExportConfig(run=str(smoke_run), out=str(tmp_path / "file"), overwrite=True))


DAMAGES = {
    "no summary.json, so this run is not finished": lambda run: (run / "summary.json").unlink(),
    "no safetensors there": lambda run: shutil.rmtree(run / "model"),
    "model.safetensors is damaged": lambda run: (run / "model" / "model.safetensors").write_bytes(
        (run / "model" / "model.safetensors").read_bytes()[:-100]
    ),
    "revlm.json: Expecting property name": lambda run: (run / "model" / "revlm.json").write_text("{"),
    "revlm.json: no directions, window: train this run again": lambda run: (
        run / "model" / "revlm.json"
    ).write_text("{}"),
    "tokenizer_config.json: the file is missing: train this run again": lambda run: (
        run / "model" / "tokenizer_config.json"
    ).unlink(),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_run_that_is_not_whole_is_refused_and_leaves_nothing(smoke_run, tmp_path, message):
    """What is missing or damaged is named, and no half of an export stays behind."""
    run = altered(smoke_run, tmp_path / "run")
    DAMAGES[message](run)
    (tmp_path / "hub").mkdir()
    with pytest.raises(UserError, match=message):
        export(ExportConfig(run=str(run), out=str(tmp_path / "hub" / "out")))
    assert not list((tmp_path / "hub").iterdir())


def test_a_kill_while_writing_leaves_no_export(smoke_run, tmp_path, monkeypatch):
    """A folder appears whole or not at all, and an earlier one stays until the new one is whole."""
    out = tmp_path / "hub" / "out"
    export(ExportConfig(run=str(smoke_run), out=str(out)))
    before = tree(out)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", killed)
    with pytest.raises(KeyboardInterrupt):
        export(ExportConfig(run=str(smoke_run), out=str(out), overwrite=True))
    assert tree(out.parent) == {f"out/{name}": data for name, data in before.items()}


COMMANDS = [
    ["+experiment=from_scratch_mixed", "scale=smoke"],
    ["+experiment=from_scratch_reverse", "scale=paper", "model=llama_7b", "seed=3"],
    [
        "+experiment=from_scratch_mixed",
        "direction.reverse_ratio=0.25",
        "data.domains=[law,drama]",
        "optimizer.lr=1e-05",
    ],
    ["+experiment=continued_mixed", "init.path='runs/it\\'s mine, {1}/model'", "tokenizer.path=null"],
    ["+experiment=from_scratch_mixed", "arm=mine", "seed=1"],
    ["name=42", "direction=forward", "data=sample_de", "trainer.accelerator=cpu"],
    ["data=files", "data.path='corpus/**/*.jsonl.zst'", "data.text=a.b", "data.domain=source"],
    ["model=custom", "model.type=gpt2", "+model.config={n_embd: 32, n_layer: 2, n_head: 2, note: null}"],
    ["model=llama_4m", "model.config.hidden_size=96", "+model.config.rope_theta=5e5", "optimizer.name=muon"],
]


@pytest.mark.parametrize("overrides", COMMANDS, ids=" ".join)
def test_the_command_of_a_card_gives_the_runs_options(compose, overrides):
    """Composed anew, the command has every recorded option that is not of one machine."""

    def recorded(arguments):
        config = compose(*arguments)
        del config.hydra
        config.run.dir = config.run.id = config.cache.dir = "elsewhere"
        config = OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.to_container(config))
        return OmegaConf.to_container(config, resolve=True, enum_to_str=True)

    command = training_command(recorded(overrides))
    python, minus_m, module, *arguments = shlex.split(command)
    assert (python, minus_m, module) == ("python", "-m", "revlm.train")
    assert recorded(arguments) == recorded(overrides)


def test_a_command_is_as_short_as_what_was_typed(exported):
    """A preset is named as a preset; the options of the machine stay out."""
    assert (
        "\npython -m revlm.train +experiment=from_scratch_mixed scale=smoke\n"
        in (exported / "README.md").read_text()
    )


def test_a_run_of_another_version_has_its_options_in_the_card(smoke_run, tmp_path):
    """Where no command gives the same options, the card shows them instead of a wrong command."""
    run = altered(smoke_run, tmp_path / "run")
    config = OmegaConf.load(run / "config.yaml")
    config.optimizer.forgotten = 7
    OmegaConf.save(config, run / "config.yaml")
    export(ExportConfig(run=str(run), out=str(tmp_path / "out")))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "python -m revlm.train +experiment" not in card
    assert "forgotten: 7" in card
    assert not re.search(r"^(run|cache|logger):", card, re.MULTILINE)


@pytest.mark.process
def test_export_from_the_command_line(smoke_run, revlm_command, tmp_path):
    """The folder is printed last, the command that sends it before; mistakes are one line."""
    done = revlm_command("export", f"run={smoke_run}", "out=hub/mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "hub/mine"
    assert "hf upload OWNER/mine hub/mine" in done.stdout
    assert np.all(
        [(tmp_path / "hub" / "mine" / name).is_file() for name in ("README.md", "model.safetensors")]
    )
    again = revlm_command("export", f"run={smoke_run}", "out=hub/mine", cwd=tmp_path)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    nothing = revlm_command("export", cwd=tmp_path)
    assert (
        nothing.stderr == "error: run= and out= must be given. All options: python -m revlm.export --help\n"
    )
