"""A model's folder says what it is; names follow from that, wherever the folder lies."""

import json
from dataclasses import replace

import pytest

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.models import FACTS
from revlm.models.backbone import export
from revlm.models.language_model import LanguageModel, arm_and_seed, model_name, model_names

SAID = {"directions": ["forward", "reverse"], "window": 64}


def said(folder, **facts):
    """A folder with nothing but what a model says of itself."""
    folder.mkdir(parents=True)
    (folder / FACTS).write_text(json.dumps(SAID | facts))
    return str(folder)


def test_a_model_is_called_by_arm_and_seed_wherever_it_lies(tiny_lm, tokenizer, tmp_path):
    """Before it is opened and after, in the run's folder and in a renamed copy."""
    folder = tmp_path / "runs" / "2026" / "model"
    export(tiny_lm, tokenizer, folder, SAID | {"arm": "mine_en", "seed": 3})
    for place in (folder, tmp_path / "renamed"):
        folder = folder.rename(place)
        assert model_name(str(place)) == LanguageModel.open(str(place), device="cpu").name == "mine_en_3"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("runs/from_scratch_mixed/2026/model", "from_scratch_mixed_2026"),
        ("runs/other", "other"),
        ("package:inside/SmolLM2.Q4_1.gguf", "SmolLM2.Q4_1"),
    ],
)
def test_a_model_that_does_not_say_is_called_by_its_place(tmp_path, monkeypatch, source, name):
    """Exports of 0.1 and other people's models keep their names."""
    monkeypatch.chdir(tmp_path)
    if not source.endswith(".gguf"):
        said(tmp_path / source, seed=0)
    assert model_name(source) == name


def test_a_name_is_one_folder(tmp_path):
    """An arm with a slash makes no folder inside another."""
    assert model_name(said(tmp_path / "a", arm="mine/en", seed=0)) == "mine_en_0"


def test_runs_that_share_arm_and_seed_are_told_apart(tmp_path):
    """By their folders, as a sweep over another option needs it; the same one twice is refused."""
    one, two = (said(tmp_path / "lr" / run / "model", arm="mine_en", seed=0) for run in ("a", "b"))
    other = said(tmp_path / "lr" / "c" / "model", arm="mine_en", seed=1)
    assert model_names([one, other, two]) == ["lr_a", "mine_en_1", "lr_b"]
    with pytest.raises(UserError, match="names lr_a twice: give each model once"):
        model_names([one, other, one])


def test_a_score_says_arm_and_seed_of_its_models(tiny_lm, tokenizer, layout):
    """Of one, of a pair, of other people's; nothing of a model of 0.1, whose name must do."""

    def lm(name, **facts):
        return LanguageModel(name, tiny_lm, tokenizer, layout, tuple(Direction), facts)

    def called(forward, reverse):
        return arm_and_seed({Direction.REVERSE: reverse, Direction.FORWARD: forward})

    a, b, public = lm("a_1", arm="a", seed=1), lm("b_1", arm="b", seed=1), lm("Q4_1")
    assert called(a, a) == {"arm": "a", "seed": 1}
    assert called(a, b) == {"arm": "a+b", "seed": 1}
    assert called(a, replace(b, name="b_2", facts={"arm": "b", "seed": 2})) == {"arm": "a_1+b_2", "seed": 0}
    assert called(public, public) == {"arm": "Q4_1", "seed": 0}
    assert called(lm("a_1", seed=1, window=64), a) == {}


def test_models_with_very_long_names_stay_apart():
    """Names are folders in a scoring run: a file system takes 255 bytes."""
    long = [f"{letter * 200}/{'é' * 100}{letter}" for letter in "ab"]
    names = model_names([f"{place}/model" for place in long])
    assert len(set(names)) == len(long)
    assert all(len(name.encode()) <= 200 for name in names)
