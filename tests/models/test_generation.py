"""Text that a model writes before or after a prompt."""

import random

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from revlm.config import ModelConfig
from revlm.data.layout import Layout
from revlm.data.tokens import TAGS, begin_id, pad_id, unit_starts
from revlm.direction import Direction, boundary_units, orient, segment_units
from revlm.errors import UserError
from revlm.models.backbone import from_config
from revlm.models.generation import generate, generate_ids
from revlm.models.language_model import LanguageModel
from tests.conftest import CHARACTERS, TINY

FORWARD, REVERSE = Direction
PROMPTS = ["Once upon a time , there was", "今天天气很好", "a family 👩‍👩‍👧‍👦", "e\u0301te\u0301", "مرحبا"]


def plain_layout(tokenizer, *, tag=False, units=None):
    tags = {d: tokenizer.convert_tokens_to_ids(token) for d, token in TAGS.items()} if tag else {}
    return Layout.of(tokenizer, window=64, tags=tags, units=units)


def write(model, tokenizer, prompt, *, tag=False, seed=0, **options):
    layout = plain_layout(tokenizer, tag=tag)
    (passage,) = generate(model, tokenizer, layout, [prompt], seeds=[seed], **options)
    return passage.text


def test_reverse_writes_what_comes_before(circling_lm, tokenizer):
    """Of a circle a, b, c, d the words before "c d" end in "a b", and they are shown in reading order."""
    text = write(circling_lm, tokenizer, " c d", direction=Direction.REVERSE, num_tokens=6, temperature=0)
    assert text == " a b c d a b c d"


def test_forward_writes_what_comes_after(circling_lm, tokenizer):
    """The same model goes on behind "c d" with "a b"."""
    text = write(circling_lm, tokenizer, " c d", direction=Direction.FORWARD, num_tokens=5, temperature=0)
    assert text == " c d a b c d a"


def test_characters_of_several_tokens_are_written_whole_in_reverse(circling_lm, tokenizer):
    """A reverse model writes the last byte of a character first; the text shows the character."""
    assert len(tokenizer(CHARACTERS, add_special_tokens=False)["input_ids"]) == 12
    text = write(circling_lm, tokenizer, "很好", direction=Direction.REVERSE, num_tokens=12, temperature=0)
    assert text == "很好今天很好"


@pytest.mark.parametrize("tag", [False, True])
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_prompt_is_kept_whole(tiny_lm, tokenizer, prompt, direction, tag):
    """Text stands behind a prompt that is read forward and before one that is read in reverse."""
    text = write(tiny_lm, tokenizer, prompt, direction=direction, num_tokens=8, temperature=0, tag=tag)
    assert text.startswith(prompt) if direction is Direction.FORWARD else text.endswith(prompt)
    assert len(text) > len(prompt)


class SuccessorLM(PreTrainedModel, GenerationMixin):
    """After token t it writes successor[t], whatever stands before, and remembers what it was given."""

    config_class = PretrainedConfig

    def __init__(self, successor):
        super().__init__(PretrainedConfig(vocab_size=len(successor), num_hidden_layers=1))
        self.scores = torch.nn.Parameter(100 * torch.eye(len(successor))[torch.as_tensor(successor)])
        self.rows = []

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids, **_):
        self.rows.append(input_ids.tolist())
        return CausalLMOutput(logits=self.scores[input_ids])


@pytest.fixture(scope="module")
def circle(tokenizer):
    """Ids of a text whose tokens all differ, and models that know it as a circle, by direction."""
    ids = np.asarray(
        tokenizer("The quick brown fox jumps. A lazy dog", add_special_tokens=False)["input_ids"]
    )
    ids = ids[sorted(np.unique(ids, return_index=True)[1])]
    models = {}
    for direction in Direction:
        successor = np.arange(len(tokenizer))
        read = orient(ids, direction)
        successor[read] = np.roll(read, -1)
        models[direction] = SuccessorLM(successor)
    return ids, models


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("start", [0, 5])
def test_what_stands_around_a_prompt_in_a_known_text_is_written(circle, tokenizer, start, length):
    """With exact models of a circle of tokens: reverse gives what precedes a piece, forward what follows."""
    ids, models = circle
    around = np.concatenate((ids, ids, ids))
    first = len(ids) + start
    known = {REVERSE: around[first - 7 : first], FORWARD: around[first + length : first + length + 7]}
    for direction, model in models.items():
        (written,) = generate_ids(
            model,
            plain_layout(tokenizer),
            [around[first : first + length]],
            direction=direction,
            num_tokens=7,
            temperature=0,
        )
        assert written.tolist() == known[direction].tolist()


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("unit", ["word", "sentence", "segment"])
def test_prompt_and_passage_are_turned_apart_by_any_unit(circle, tokenizer, unit, direction):
    """The model reads BOS and the prompt as in training; units of it never merge with what is written."""
    begins_word, ends_sentence = unit_starts(tokenizer)
    units = {
        "word": lambda ids: boundary_units(begins_word[ids]),
        "sentence": lambda ids: boundary_units(np.concatenate(([True], ends_sentence[ids][:-1]))),
        "segment": lambda ids: segment_units(len(ids), 4),
    }[unit]
    ids, models = circle
    prompt, model = ids[:9], models[direction]
    layout = plain_layout(tokenizer, units=units)
    for num_tokens in (1, 7, 8):
        model.rows.clear()
        (written,) = generate_ids(
            model, layout, [prompt], direction=direction, num_tokens=num_tokens, temperature=0
        )
        read = orient(prompt, direction, units(prompt))
        assert model.rows[0] == [[layout.bos, *read]]
        raw = [int(model.scores[read[-1]].argmax())]
        while len(raw) < num_tokens:
            raw.append(int(model.scores[raw[-1]].argmax()))
        assert written.tolist() == orient(np.asarray(raw), direction, units(np.asarray(raw))).tolist()


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_batch_changes_no_text(tokenizer, direction, temperature, architecture):
    """Prompts of different lengths give what each gives alone, greedy or sampled, in any batch and order."""
    torch.manual_seed(0)
    shape = {"llama": dict(TINY), "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2}}[architecture]
    model = from_config(ModelConfig(type=architecture, config=shape), tokenizer, 130).eval()
    # Random weights of usual size say nearly the same everywhere, and rounding would decide.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    prompts = [*PROMPTS, "", "the", PROMPTS[0] * 3]
    seeds = list(range(len(prompts)))
    options = {"direction": direction, "num_tokens": 12, "temperature": temperature}
    alone = [write(model, tokenizer, p, seed=s, **options) for p, s in zip(prompts, seeds, strict=True)]
    assert len(set(alone)) == len(alone)
    layout = plain_layout(tokenizer)
    for batch_size in (3, len(prompts)):
        passages = generate(
            model, tokenizer, layout, prompts[::-1], seeds=seeds[::-1], batch_size=batch_size, **options
        )
        assert [p.text for p in passages] == alone[::-1]


def test_samples_follow_the_models_probabilities(tokenizer):
    """Shares of tokens are those of softmax(scores / temperature) within top_p, renormalised."""
    scores = np.full(len(tokenizer), -50.0)
    tokens, share = [300, 301, 302, 303], np.asarray([0.5, 0.3, 0.15, 0.05])
    scores[tokens] = 2 * np.log(share)
    model = SuccessorLM(np.arange(len(tokenizer)))
    with torch.no_grad():
        model.scores.copy_(torch.as_tensor(scores).expand(len(tokenizer), -1))
    prompt = np.empty(0, dtype=np.int64)
    written = generate_ids(
        model,
        plain_layout(tokenizer),
        [prompt] * 4000,
        direction=FORWARD,
        num_tokens=1,
        temperature=2.0,
        top_p=0.9,
        seeds=range(4000),
        batch_size=500,
    )
    counts = np.bincount(np.concatenate(written), minlength=len(tokenizer))[tokens] / 4000
    assert counts == pytest.approx([*share[:3] / share[:3].sum(), 0], abs=0.03)


def test_other_prompts_draw_otherwise_under_the_same_seed(tokenizer):
    """Passages to several prompts are independent: one seed does not give all of them the same luck."""
    model = SuccessorLM(np.arange(len(tokenizer)))
    with torch.no_grad():
        model.scores.zero_()
    prompts = [np.asarray([300 + i]) for i in range(8)]
    layout = plain_layout(tokenizer)
    written = generate_ids(model, layout, prompts, direction=FORWARD, num_tokens=4, temperature=1.0)
    assert len({tuple(ids.tolist()) for ids in written}) == len(prompts)


@pytest.mark.parametrize("direction", list(Direction))
def test_an_end_of_text_token_ends_a_passage_only_when_asked(tokenizer, direction):
    """With stop_at_end what comes after the model's end token is left out; without, that token is not written."""
    successor = np.arange(len(tokenizer)) + 1
    successor[-1] = 300
    model = SuccessorLM(successor)
    model.generation_config.eos_token_id = [305, 400]
    layout = plain_layout(tokenizer)
    prompts = [np.asarray([302]), np.asarray([303]), np.asarray([350])]
    options = {"direction": direction, "num_tokens": 6, "temperature": 0}
    stopped = generate_ids(model, layout, prompts, stop_at_end=True, **options)
    in_order = [[303, 304], [304], [351, 352, 353, 354, 355, 356]]
    assert [ids.tolist() for ids in stopped] == [orient(np.asarray(i), direction).tolist() for i in in_order]
    whole = generate_ids(model, layout, prompts, **options)
    assert [len(ids) for ids in whole] == [6, 6, 6]
    assert 305 not in np.concatenate(whole)


def test_a_models_own_generation_defaults_are_left_aside(tiny_lm, tokenizer):
    """Greedy is greedy, also for a model whose generation_config samples and punishes repetition."""
    options = {"direction": FORWARD, "num_tokens": 20, "temperature": 0}
    expected = write(tiny_lm, tokenizer, "the", **options)
    tiny_lm.generation_config = own = GenerationConfig(
        do_sample=True, temperature=2.0, top_k=5, repetition_penalty=3.0, max_length=4
    )
    assert write(tiny_lm, tokenizer, "the", **options) == expected
    assert tiny_lm.generation_config is own


def test_a_prompt_that_does_not_fit_is_refused_with_the_way_out(tiny_lm, tokenizer):
    """Prompt and passage stay within the model's context, BOS included: 130 positions hold 1 + 29 + 100."""
    prompt = np.full(30, 300)
    options = {"direction": REVERSE, "temperature": 0}
    layout = plain_layout(tokenizer)
    with pytest.raises(
        UserError, match=r"prompt of 30 tokens and num_tokens=100 need 131 .* num_tokens= to 99 or less"
    ):
        generate_ids(tiny_lm, layout, [prompt[:1], prompt], num_tokens=100, **options)
    assert len(generate_ids(tiny_lm, layout, [prompt], num_tokens=99, **options)[0]) == 99


@pytest.mark.parametrize("direction", list(Direction))
def test_text_that_spells_a_special_token_stays_text(circle, tokenizer, direction):
    """A prompt cannot smuggle a begin token in, and it is given back as it was."""
    model = circle[1][direction]
    model.rows.clear()
    (passage,) = generate(
        model,
        tokenizer,
        plain_layout(tokenizer),
        ["a <|bos|> b<|pad|>"],
        direction=direction,
        num_tokens=4,
        temperature=0,
    )
    assert not {begin_id(tokenizer), pad_id(tokenizer)} & set(model.rows[0][0][1:])
    assert "a <|bos|> b<|pad|>" in passage.text
    assert "[a <|bos|> b<|pad|>]" in passage.marked


def test_a_model_writes_only_what_it_was_trained_for_unless_allowed(tiny_lm, tokenizer):
    """A forward model is asked for reverse text by name only: that is how its bias is measured."""
    lm = LanguageModel("mine", tiny_lm, tokenizer, plain_layout(tokenizer), (FORWARD,), {})
    with pytest.raises(UserError, match="mine was trained forward, not reverse: set allow=true"):
        lm.write("the end.", direction="reverse")
    assert lm.write("the end.", direction="reverse", allow=True).endswith("the end.")
    assert lm.write("Once", seed=1) == lm.write("Once", direction="forward", seed=1)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_text_is_written_from_nothing(circling_lm, tokenizer, direction):
    """With an empty prompt a model writes as many tokens as it is asked for, in reading order."""
    prompts = [np.empty(0, dtype=np.int64)]
    options = {"direction": direction, "num_tokens": 9, "temperature": 0}
    (ids,) = generate_ids(circling_lm, plain_layout(tokenizer), prompts, **options)
    assert ids.shape == (9,)
    assert write(circling_lm, tokenizer, "", **options) == tokenizer.decode(ids.tolist())


def test_generating_leaves_everything_as_it_was(tokenizer):
    """Global random states, weights and the model's mode stay; a model in training writes without dropout."""
    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.5}
    model = from_config(ModelConfig(type="gpt2", config=shape), tokenizer, 65).train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    options = {"direction": Direction.REVERSE, "num_tokens": 20, "seed": 3}
    texts = {write(model, tokenizer, "the end.", **options) for _ in range(3)}
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
        return write(
            tiny_lm, tokenizer, "the", direction=direction, num_tokens=20, temperature=1.0, seed=seed
        )

    assert written(1) == written(1)
    assert len({written(seed) for seed in range(4)}) == 4
