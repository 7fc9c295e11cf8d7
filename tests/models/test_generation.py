"""Text that a model writes before or after a prompt."""

import random

import numpy as np
import pytest
import torch

from revlm.config import ModelConfig
from revlm.data.streams import IGNORE
from revlm.data.tokens import begin_id, unit_starts
from revlm.direction import Direction, boundary_units, orient, segment_units
from revlm.models.backbone import from_config
from revlm.models.generation import generate_ids, generate_text
from revlm.models.nll import TokenLoss
from tests.conftest import TINY

PROMPTS = ["Once upon a time , there was", "今天天气很好", "a family 👩‍👩‍👧‍👦", "e\u0301te\u0301", "مرحبا"]
# Texts that go round in circles: whatever stands before or after a piece of one is known.
WORDS, CHARACTERS = " a b c d", "今天很好"


@pytest.fixture(scope="module")
def circling_lm(tokenizer):
    """A model that has learned both circles in both directions; it takes two seconds."""
    torch.manual_seed(0)
    model = from_config(ModelConfig(config=dict(TINY)), tokenizer, 33)
    circles = [
        np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (WORDS, CHARACTERS)
    ]
    loss, rng = TokenLoss(model), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(250):
        windows = [np.resize(np.roll(ids, -rng.integers(len(ids))), 16) for ids in circles * 4]
        rows = torch.tensor([[begin_id(tokenizer), *orient(ids, d)] for ids in windows for d in Direction])
        labels = torch.where(torch.arange(17) > 0, rows, IGNORE)
        loss.sum_nll(rows, labels, torch.arange(17).expand(len(rows), 17)).div(rows.numel()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def test_reverse_writes_what_comes_before(circling_lm, tokenizer):
    """Of a circle a, b, c, d the words before "c d" end in "a b", and they are shown in reading order."""
    text = generate_text(
        circling_lm, tokenizer, " c d", direction=Direction.REVERSE, num_tokens=6, temperature=0
    )
    assert text == " a b c d a b c d"


def test_forward_writes_what_comes_after(circling_lm, tokenizer):
    """The same model goes on behind "c d" with "a b"."""
    text = generate_text(
        circling_lm, tokenizer, " c d", direction=Direction.FORWARD, num_tokens=5, temperature=0
    )
    assert text == " c d a b c d a"


def test_characters_of_several_tokens_are_written_whole_in_reverse(circling_lm, tokenizer):
    """A reverse model writes the last byte of a character first; the text shows the character."""
    assert len(tokenizer(CHARACTERS, add_special_tokens=False)["input_ids"]) == 12
    text = generate_text(
        circling_lm, tokenizer, "很好", direction=Direction.REVERSE, num_tokens=12, temperature=0
    )
    assert text == "很好今天很好"


@pytest.mark.parametrize("tag", [False, True])
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_prompt_is_kept_whole(tiny_lm, tokenizer, prompt, direction, tag):
    """Text stands behind a prompt that is read forward and before one that is read in reverse."""
    text = generate_text(
        tiny_lm, tokenizer, prompt, direction=direction, num_tokens=8, temperature=0, tag=tag
    )
    assert text.startswith(prompt) if direction is Direction.FORWARD else text.endswith(prompt)
    assert len(text) > len(prompt)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("unit", ["word", "sentence", "segment"])
def test_the_prompt_is_kept_whole_by_any_unit(tiny_lm, tokenizer, unit, direction):
    """Units of the prompt neither merge with what is written nor trade places with it."""
    begins_word, ends_sentence = unit_starts(tokenizer)
    units = {
        "word": lambda ids: boundary_units(begins_word[ids]),
        "sentence": lambda ids: boundary_units(np.concatenate(([True], ends_sentence[ids][:-1]))),
        "segment": lambda ids: segment_units(len(ids), 4),
    }[unit]
    text = "Some words more of them. The fox jumps. A dog"
    prompt = np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"])
    for num_tokens in (1, 7, 8):
        ids = generate_ids(
            tiny_lm, tokenizer, prompt, direction=direction, num_tokens=num_tokens, units=units, temperature=0
        )
        kept = ids[: len(prompt)] if direction is Direction.FORWARD else ids[num_tokens:]
        assert kept.tolist() == prompt.tolist()


@pytest.mark.parametrize("direction", list(Direction))
def test_a_text_is_written_from_nothing(circling_lm, tokenizer, direction):
    """With an empty prompt a model writes as many tokens as it is asked for, in reading order."""
    ids = generate_ids(
        circling_lm, tokenizer, np.empty(0, dtype=np.int64), direction=direction, num_tokens=9, temperature=0
    )
    assert ids.shape == (9,)
    text = generate_text(circling_lm, tokenizer, "", direction=direction, num_tokens=9, temperature=0)
    assert text == tokenizer.decode(ids.tolist())


def test_generating_leaves_everything_as_it_was(tokenizer):
    """Global random states, weights and the model's mode stay; a model in training writes without dropout."""
    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.5}
    model = from_config(ModelConfig(type="gpt2", config=shape), tokenizer, 65).train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    options = {"direction": Direction.REVERSE, "num_tokens": 20, "seed": 3}
    texts = {generate_text(model, tokenizer, "the end.", **options) for _ in range(3)}
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]  # noqa: NPY002
    assert len(texts) == 1
    assert model.training
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("direction", list(Direction))
def test_the_seed_decides_the_text(tiny_lm, tokenizer, direction):
    """The same seed writes the same text whatever was drawn before, another seed another one."""

    def written(seed):
        torch.rand(seed + 1)
        return generate_text(
            tiny_lm, tokenizer, "the", direction=direction, num_tokens=20, temperature=1.0, seed=seed
        )

    assert written(1) == written(1)
    assert len({written(seed) for seed in range(4)}) == 4
