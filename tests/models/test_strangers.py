"""Models and tokenizers of other people, each with something that ours do not have."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from revlm.config import ModelConfig, ModelSource
from revlm.data.tokens import TAGS, add_tags, build_store, load_tokenizer, num_ids
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.scoring import Scorer
from revlm.models.backbone import fit_vocabulary, from_config
from revlm.models.language_model import open_model
from revlm.models.nll import check_windows_apart, context_of, is_causal
from tests.conftest import TINY

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
TEXT = ["The old river crosses the quiet garden, and nobody answers it before the winter of 1203."]


@pytest.fixture
def holes(tokenizer):
    """A tokenizer that has no token at 40 of its ids, as CamemBERT's has none at one."""
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    names = {token["content"] for token in core["added_tokens"]} - set(TAGS.values())
    core["added_tokens"] = [token for token in core["added_tokens"] if token["content"] in names]
    vocabulary = {token: at for token, at in core["model"]["vocab"].items() if token not in TAGS.values()}
    core["model"]["vocab"] = {token: at + 40 * (at >= 300) for token, at in vocabulary.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(core)), bos_token="<|bos|>", pad_token="<|pad|>"
    )


@pytest.fixture
def saved(tokenizer, tmp_path):
    """Save a model with random weights and a tokenizer, as other people's folders look."""

    def save(kind, own=None, **options):
        own = own or tokenizer
        config = AutoConfig.for_model(kind, vocab_size=num_ids(own), **options)
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config)
        for weights in model.parameters():
            weights.data.mul_(3.0 if weights.dim() > 1 else 1.0)
        model.save_pretrained(tmp_path / kind)
        own.save_pretrained(tmp_path / kind)
        return str(tmp_path / kind)

    return save


def scores(source, **options):
    return Scorer.open(source, options=ModelSource(**options), window=16)({"text": TEXT})


def test_ids_go_up_to_the_largest_whatever_their_number(holes, corpus, cache_dir):
    """A vocabulary with holes has larger ids than tokens: model, store and units hold the largest."""
    assert num_ids(holes) > len(holes) + 39
    model = from_config(ModelConfig(config=dict(TINY)), holes, 65)
    store = build_store(
        corpus.dataset,
        np.zeros(len(corpus.dataset), dtype=bool),
        holes,
        corpus_fingerprint="x",
        cache_dir=cache_dir,
    )
    assert store.ids.max() >= len(holes)
    assert model(input_ids=torch.tensor([[int(store.ids.max())]])).logits.shape[-1] == num_ids(holes)


def test_tags_never_take_the_ids_of_ordinary_tokens(holes, tmp_path):
    """Tags stand behind the largest id, and everything else is encoded as before."""
    before, taken = holes.encode(TEXT[0]), set(holes.get_vocab().values())
    tags = add_tags(holes)
    assert not taken & set(tags.values())
    assert holes.encode(TEXT[0]) == before
    holes.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert [again.convert_tokens_to_ids(TAGS[direction]) for direction in Direction] == list(tags.values())
    assert again.encode(TEXT[0]) == before
    model = from_config(ModelConfig(config=dict(TINY)), again, 65)
    fit_vocabulary(model, again, 2)
    assert model.get_input_embeddings().num_embeddings == max(tags.values()) + 1


def test_a_mixture_of_experts_is_causal_up_to_rounding(saved):
    """Other tokens behind change the experts' batches, and so the last digits before: that is no leak."""
    options = SMALL | {"hidden_size": 256, "moe_intermediate_size": 256, "head_dim": 64}
    source = saved(
        "qwen3_moe",
        num_experts=8,
        num_experts_per_tok=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        **options,
    )
    (s,) = scores(source)["s"]
    assert np.isfinite(s)


class Leaking(torch.nn.Module):
    """A model's body that lets a little of the next token through."""

    def __init__(self, body, share):
        super().__init__()
        self.body, self.share = body, share

    def forward(self, input_ids, **options):
        found = self.body(input_ids=input_ids, **options)
        states = found.last_hidden_state
        found.last_hidden_state = states + self.share * torch.roll(states, -1, dims=1)
        return found


@pytest.mark.parametrize("share", [1.0, 1e-2, 1e-4])
def test_a_leak_is_no_rounding(tiny_lm, share):
    """A ten-thousandth of the next token's state is far above what rounding does, and is refused."""
    assert is_causal(tiny_lm)
    assert check_windows_apart(tiny_lm)
    tiny_lm.model = Leaking(tiny_lm.model, share)
    assert not is_causal(tiny_lm)


def test_a_model_that_reads_pictures_too_is_scored_by_its_text(tokenizer, tmp_path):
    """Vocabulary and context of a multimodal checkpoint stand in its text's part of the config."""
    text = SMALL | {
        "vocab_size": num_ids(tokenizer),
        "max_position_embeddings": 128,
        "sliding_window": 16,
        "head_dim": 16,
        "num_key_value_heads": 2,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=5,
        boi_token_index=6,
        eoi_token_index=7,
    )
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert context_of(AutoConfig.from_pretrained(tmp_path)) == 128
    assert np.isfinite(scores(str(tmp_path))["s"][0])
    assert open_model(str(tmp_path), ModelSource(), tmp_path, window=None).layout.window == 127


def test_a_model_without_an_end_writes_and_asks_for_a_window_to_score(saved):
    """Mamba has no positions: it generates as it is, and scoring names the option that scoring has."""
    source = saved("mamba", hidden_size=64, num_hidden_layers=2, state_size=8)
    lm = open_model(source, ModelSource(), None, window=None)
    assert lm.write("The old", num_tokens=3, temperature=0).startswith("The old")
    with pytest.raises(UserError, match="set window="):
        Scorer.open(source)
    assert np.isfinite(scores(source)["s"][0])


def test_a_context_of_minus_one_is_none(saved):
    """XLNet says -1 for no end; it sees what it is to predict, and that is what is said."""
    source = saved("xlnet", d_model=64, n_layer=2, n_head=4, d_inner=128)
    with pytest.raises(UserError, match="sees what it is to predict"):
        scores(source)


def test_the_token_before_a_row_can_be_named(saved, tokenizer):
    """A tokenizer with neither BOS nor end of text begins rows with the token that begin= names."""
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(core)))
    source = saved("gpt2", bare, n_embd=64, n_layer=2, n_head=4, n_positions=64)
    with pytest.raises(UserError, match=r"begin="):
        scores(source)
    assert np.isfinite(scores(source, begin="<|bos|>")["s"][0])
    with pytest.raises(UserError, match="no token 'nowhere'"):
        load_tokenizer(source, begin="nowhere")
