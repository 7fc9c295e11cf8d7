"""Every configuration composes, and every experiment runs."""

import copy
import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch
import yaml
from hydra.core.config_store import ConfigStore

from revlm import cli
from revlm.checks import check
from revlm.composition import choices
from revlm.config import ModelConfig, TrainConfig
from revlm.config.choices import CHOICES, model_of

CONF = cli.conf_dir()
NAMES = {
    group: [*CHOICES.get(group, ()), *choices(group)]
    for group in ("data", "direction", "experiment", "init", "logger", "model", "preset", "scale")
}
SCRATCH = [name for name in NAMES["experiment"] if name.startswith("from_scratch")]


def options(*overrides):
    """Of training, as the command line would make them."""
    return cli.declared("train", cli.compose("train", overrides))


def test_compositions_share_what_is_registered_and_change_nothing_in_it():
    """Hydra copies its store a hundred times for a --help: the copies are one, and still nobody writes to it."""
    first = cli.compose("train", ["init=scratch"])
    untouched = copy.deepcopy(first)
    first.data.window, first.init.kind, first.data.domains = 7, "pretrained", ["plots"]
    assert cli.compose("train", ["init=scratch"]) == untouched != first
    store = ConfigStore.instance()
    assert copy.deepcopy(store).repo is store.repo


@pytest.mark.parametrize("group", [g for g in NAMES if g != "experiment"])
def test_every_choice_of_a_group_composes(group):
    """No file of conf/ is dead or broken."""
    for name in NAMES[group]:
        assert options(f"{group}={name}")


@pytest.mark.parametrize("scale", NAMES["scale"])
@pytest.mark.parametrize("experiment", NAMES["experiment"])
def test_every_experiment_composes_at_every_scale(experiment, scale):
    """Options are valid, and the experiment carries its own name."""
    config = options(f"+experiment={experiment}", f"scale={scale}")
    check(config)
    assert config.name == experiment
    assert config.direction.module.value in experiment.split("_")


@pytest.mark.parametrize("scale", NAMES["scale"])
@pytest.mark.parametrize("init", NAMES["init"])
def test_every_scale_has_a_model_for_every_init(scale, init):
    """One that the init can begin with; `model=` chooses another."""
    model = options(f"scale={scale}", f"init={init}").model
    assert bool(model.config) == (init == "scratch")
    assert bool(model.pretrained) == (init == "pretrained")
    assert options(f"scale={scale}", f"init={init}", "model=llama_4m").model.name == "llama_4m"


def test_a_scale_of_ones_own_brings_its_model():
    """A name that is not known here is looked for under conf/model."""
    assert model_of("mine", "scratch") == "mine_scratch"


def keys_of(path: Path) -> set[str]:
    """Dotted keys that a file sets, its defaults list included as groups."""
    content = yaml.safe_load(path.read_text()) or {}
    defaults = content.pop("defaults", [])
    groups = {
        key.removeprefix("override /") for entry in defaults if isinstance(entry, dict) for key in entry
    }

    def walk(node, prefix=""):
        if not isinstance(node, dict):
            return {prefix.rstrip(".")}
        return {key for k, v in node.items() for key in walk(v, f"{prefix}{k}.")}

    return walk(content) | groups if content else groups


def test_experiment_says_what_and_scale_says_how_much():
    """No key is set by both, so neither can undo the other."""
    scales = set().union(*(keys_of(CONF / "scale" / f"{name}.yaml") for name in NAMES["scale"]))
    shared = {name: keys_of(CONF / "experiment" / f"{name}.yaml") & scales for name in NAMES["experiment"]}
    assert {key for keys in shared.values() for key in keys} == set()


def test_every_yaml_says_what_it_is_for_and_how_it_is_used():
    """The first comment of a file names its purpose and its command."""
    for path in CONF.rglob("*.yaml"):
        comments = [
            line
            for line in path.read_text().splitlines()[:3]
            if line.startswith("# ") and "@package" not in line
        ]
        assert comments, path
        assert any("=" in c or "python -m" in c for c in comments), path


def test_no_config_can_run_code():
    """Objects come from names in code: no file holds a _target_."""
    assert not [p for p in CONF.rglob("*.yaml") if "_target_" in p.read_text()]


def test_every_option_is_documented_where_it_is_declared():
    """Each class of options has a docstring that says what it is."""

    def walk(cls):
        assert cls.__doc__
        assert not cls.__doc__.startswith(f"{cls.__name__}(")
        for field in fields(cls):
            kind = field.default_factory if callable(field.default_factory) else None
            if is_dataclass(kind):
                walk(kind)

    walk(TrainConfig)


@pytest.mark.parametrize("experiment", SCRATCH)
def test_every_scratch_experiment_trains_at_smoke_scale(run_train, tmp_path, experiment):
    """Fits, and both validation losses fall where that direction is trained."""
    folder = run_train(tmp_path / "run", f"+experiment={experiment}", "scale=smoke", "logger=none")
    summary = json.loads((folder / "summary.json").read_text())
    trained = [d for d in ("forward", "reverse") if summary["module"] in (d, "mixed")]
    for direction in trained:
        assert summary[f"nll_{direction}"] < summary[f"start_nll_{direction}"] - 0.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("experiment", [n for n in NAMES["experiment"] if n.startswith("continued")])
def test_every_continued_experiment_trains_at_smoke_scale(run_train, tmp_path, experiment):
    """SmolLM2 loads from its package and moves; reading in reverse is far harder for it at the start."""
    folder = run_train(tmp_path / "run", f"+experiment={experiment}", "scale=smoke", "logger=none")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["parameters"] > 100_000_000
    assert summary["start_nll_reverse"] > summary["start_nll_forward"] + 2
    assert (folder / "model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "extra",
    [
        ("data.packing=padded",),
        ("data.granularity=word",),
        ("data.granularity=sentence",),
        ("data.granularity=segment", "data.segment_tokens=4"),
        ("direction.tag=true",),
        ("optimizer.name=muon", "optimizer.schedule=wsd"),
        ("budget.micro_batch_size=1",),
        ("model=custom", "model.type=gpt2", "+model.config={n_embd: 32, n_layer: 2, n_head: 2}"),
        ("data.domains=[plots]", "data.max_val_tokens=null"),
    ],
    ids=lambda extra: extra[0],
)
def test_every_way_to_train_trains(run_train, tmp_path, extra):
    """Options that change rows, steps or the model give a finished run with falling losses."""
    folder = run_train(
        tmp_path / "run",
        "+experiment=from_scratch_mixed",
        "scale=smoke",
        "logger=none",
        "budget.tokens=4_000",
        *extra,
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["nll_forward"] < summary["start_nll_forward"]
    assert summary["nll_reverse"] < summary["start_nll_reverse"]


@pytest.mark.parametrize("name", ["llama_1b", "llama_7b"])
def test_paper_scale_models_instantiate_on_the_meta_device(tokenizer, name):
    """The paper's sizes come out of their configs without memory: 1.1B and 6.7B parameters."""
    from revlm.models.backbone import from_config

    config = options("+experiment=from_scratch_mixed", "scale=paper", f"model={name}")
    shape = ModelConfig(config=config.model.config | {"vocab_size": config.tokenizer.vocab_size})
    with torch.device("meta"):
        model = from_config(shape, tokenizer, config.data.window + 1)
    billions = model.num_parameters() / 1e9
    assert billions == pytest.approx({"llama_1b": 1.1, "llama_7b": 6.74}[name], rel=0.01)
    assert config.trainer.strategy.value == "fsdp"


def test_fsdp_without_a_gpu_is_refused(run_train, tmp_path):
    """The message names what to choose instead."""
    from revlm.errors import UserError

    with pytest.raises(UserError, match=r"trainer\.strategy=fsdp needs GPUs: choose trainer\.strategy=ddp"):
        run_train(
            tmp_path / "run", "scale=smoke", "logger=none", "trainer.strategy=fsdp", "trainer.accelerator=cpu"
        )
