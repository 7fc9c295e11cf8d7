"""The scorer against an exact model, a naive loop, the trainer, and the laws of both directions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from revlm.config import CurvesConfig, DataConfig, Granularity, ModelConfig
from revlm.data.datamodule import TokenStreamDataModule
from revlm.data.layout import Layout
from revlm.data.tokens import TokenIds, begin_id, encode, plain_tokenizer
from revlm.data.units import units_of
from revlm.direction import Direction, orient
from revlm.errors import UserError
from revlm.measures.document_scores import document_crossing, document_scores
from revlm.measures.scoring import Scorer
from revlm.models.backbone import from_config
from revlm.models.language_model import LanguageModel
from tests.conftest import TINY

FORWARD, REVERSE = Direction


def language_model(model, tokenizer, *, window=64, units=None, name="tiny"):
    layout = Layout.of(tokenizer, window=window, units=units)
    return LanguageModel(name, model.eval(), tokenizer, layout, tuple(Direction), {})


@pytest.fixture
def scorer(tiny_lm, tokenizer):
    return Scorer(dict.fromkeys(Direction, language_model(tiny_lm, tokenizer)))


@pytest.fixture
def documents(store):
    """Real documents of 2 to some 700 tokens: shorter and longer than a window."""
    return store.take(np.argsort(store.lengths)[:: max(1, len(store) // 12)])


def token_losses(scorer, documents):
    return scorer.token_losses(documents, [str(d) for d in range(len(documents))])


def as_documents(*rows):
    return TokenIds.of(rows)


def naive_nll(model, ids, bos, window, direction):
    """Ten lines that anyone can check: one window at a time, all logits, no batch."""
    total = 0.0
    for start in range(0, len(ids), window):
        body = list(ids[start : start + window])
        body = body[::-1] if direction is REVERSE else body
        row = torch.tensor([[bos, *body]])
        with torch.no_grad():
            logits = model(row).logits[0, :-1].float()
        total += -logits.log_softmax(-1)[range(len(body)), body].double().sum().item()
    return total / len(ids)


def test_scores_equal_a_naive_loop(scorer, tiny_lm, documents):
    """Batches, chunks and windows change nothing: a plain loop gives the same to 1e-5."""
    losses = token_losses(scorer, documents)
    means = losses.sums() / losses.counts()
    for index in range(len(documents)):
        for direction in Direction:
            naive = naive_nll(tiny_lm, documents.document(index).tolist(), scorer.layout.bos, 64, direction)
            assert means[direction.number, index] == pytest.approx(naive, abs=1e-5)


class MarkovConfig(PretrainedConfig):
    model_type = "markov"


class MarkovLM(PreTrainedModel):
    """Exact conditional probabilities of a Markov chain, as a causal LM in float64."""

    config_class = MarkovConfig

    def __init__(self, kernel, start, bos):
        super().__init__(MarkovConfig(vocab_size=len(kernel)))
        table = kernel.copy()
        table[bos] = start
        self.table = torch.nn.Parameter(torch.log(torch.from_numpy(table)))

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids, **_):
        return CausalLMOutput(logits=self.table[input_ids])


@pytest.fixture(scope="module")
def markov(tokenizer):
    """A stationary chain over the vocabulary as forward model, and its reversal as reverse model."""
    rng = np.random.default_rng(0)
    size, bos = len(tokenizer), begin_id(tokenizer)
    kernel = rng.dirichlet(np.full(size, 0.3), size) + 1e-6
    kernel /= kernel.sum(1, keepdims=True)
    stationary = np.full(size, 1 / size)
    for _ in range(500):
        stationary = stationary @ kernel
    reversal = kernel.T * stationary / stationary[:, None]
    return {
        direction: language_model(MarkovLM(k, stationary, bos), tokenizer, window=10_000, name=str(direction))
        for direction, k in ((FORWARD, kernel), (REVERSE, reversal))
    }


def test_the_true_distribution_has_no_direction(markov, store):
    """Under the exact model of a chain and its reversal S is 0 to 1e-9, whatever the text."""
    # The bos row of the table holds the start, so no document may hold the bos token.
    documents = store.take(np.arange(20))
    losses = token_losses(Scorer(markov), documents)
    scores = document_scores(losses, [100] * len(documents), CurvesConfig())
    assert np.abs(scores["s"]).max() <= 1e-9
    assert scores["nll_forward"].min() > 1


def test_palindromes_score_zero(scorer):
    """A text that reads the same both ways is equally hard both ways, token by token mirrored."""
    half = np.random.default_rng(1).integers(4, 512, 20)
    losses = token_losses(scorer, as_documents(np.concatenate((half, half[::-1]))))
    assert np.allclose(losses.nll[0], losses.nll[1][::-1], atol=1e-6)
    assert losses.sums()[0] == pytest.approx(losses.sums()[1], rel=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(4, 511), min_size=2, max_size=64))
def test_s_of_a_reversed_document_is_minus_s(ids):
    """One model, a document of one window and its mirror image: losses swap sides."""
    scorer = _shared_scorer()
    losses = token_losses(scorer, as_documents(ids, ids[::-1]))
    forward, reverse = losses.sums() / losses.counts()
    assert forward[0] == pytest.approx(reverse[1], abs=1e-5)
    assert reverse[0] == pytest.approx(forward[1], abs=1e-5)


@pytest.fixture(autouse=True)
def _keep(scorer):
    _KEPT["scorer"] = scorer


_KEPT: dict[str, Scorer] = {}


def _shared_scorer() -> Scorer:
    return _KEPT["scorer"]


@pytest.mark.parametrize("batch_tokens", [1, 64, 100_000])
def test_the_company_of_a_document_never_changes_its_score(tiny_lm, tokenizer, documents, batch_tokens):
    """Alone, in small batches, in one large batch: the same losses to 1e-5."""
    lm = language_model(tiny_lm, tokenizer)
    losses = token_losses(Scorer(dict.fromkeys(Direction, lm), batch_tokens=batch_tokens), documents)
    for index in (0, len(documents) // 2, len(documents) - 1):
        alone = token_losses(Scorer(dict.fromkeys(Direction, lm)), documents.take(np.array([index])))
        here = slice(documents.offsets[index], documents.offsets[index + 1])
        assert np.allclose(losses.nll[:, here], alone.nll, atol=1e-5)


def test_cores_never_change_a_bit(scorer, documents):
    """One core or three: the same losses to the last bit, and torch keeps its number of threads."""
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(token_losses(scorer, documents).nll.tobytes())
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert found[0] == found[1]


def test_losses_stand_at_their_token(scorer, tiny_lm):
    """In text order, a token's reverse loss is that of predicting it from what stands behind it."""
    ids = np.random.default_rng(2).integers(4, 512, 150)
    losses = token_losses(scorer, as_documents(ids))
    start, token = 64, 100
    behind = ids[token + 1 : start + 64][::-1]
    row = torch.tensor([[scorer.layout.bos, *behind]])
    with torch.no_grad():
        expected = -tiny_lm(row).logits[0, -1].log_softmax(-1)[ids[token]].item()
    assert losses.nll[1, token] == pytest.approx(expected, abs=1e-5)
    assert losses.position[:, token].tolist() == [token - start, len(behind)]
    assert losses.position[:, 149].tolist() == [149 - 128, 0]


def test_units_keep_their_order_and_their_place(tiny_lm, tokenizer):
    """Reversal by segments: losses come back to the tokens that were predicted."""
    lm = language_model(tiny_lm, tokenizer, units=units_of(Granularity.segment, 3, tokenizer))
    ids = np.random.default_rng(3).integers(4, 512, 20)
    losses = token_losses(Scorer(dict.fromkeys(Direction, lm)), as_documents(ids))
    read = orient(ids, REVERSE, lm.layout.units(ids))
    row = torch.tensor([[lm.layout.bos, *read]])
    with torch.no_grad():
        expected = -tiny_lm(row).logits[0, :-1].log_softmax(-1)[range(20), read]
    order = np.argsort(losses.position[1])
    assert np.allclose(losses.nll[1][order], expected, atol=1e-5)
    assert (ids[order] == read).all()


def test_the_first_tokens_can_be_left_out(scorer, documents):
    """s_without_first averages the tokens that have something before them, in each direction."""
    losses = token_losses(scorer, documents)
    scores = document_scores(losses, [10] * len(documents), CurvesConfig())
    index = int(np.argmax(documents.lengths))
    here = slice(documents.offsets[index], documents.offsets[index + 1])
    kept = losses.position[:, here] > 0
    means = [losses.nll[d, here][kept[d]].mean(dtype=np.float64) for d in range(2)]
    assert (~kept).sum() == 2 * math.ceil(documents.lengths[index] / 64)
    assert scores["s_without_first"][index] == pytest.approx(means[0] - means[1], abs=1e-9)


def test_bits_per_byte_are_total_bits_over_bytes(scorer, documents):
    """nats over ln 2, of all tokens, over the bytes of the text."""
    losses = token_losses(scorer, documents)
    num_bytes = np.arange(1, len(documents) + 1) * 100
    scores = document_scores(losses, num_bytes, CurvesConfig())
    expected = scores["nll_forward"] * scores["num_tokens"] / math.log(2) / num_bytes
    assert np.allclose(scores["bits_per_byte_forward"], expected)


def test_a_documents_own_crossing(scorer):
    """Planted curves cross where they were planted; a curve that stays above never does."""
    losses = token_losses(scorer, as_documents(np.arange(4, 54), np.arange(4, 54)))
    crossing_at = np.where(losses.position[1, :50] < 20, 2.0, 0.5)
    losses.nll[0] = 1.0
    losses.nll[1] = np.concatenate((crossing_at, np.full(50, 2.0)))
    rule = CurvesConfig(smoothing=1, hold=8)
    assert document_crossing(losses, 0, rule) == 20
    assert document_crossing(losses, 1, rule) is None


def test_a_pair_reads_each_direction_with_its_own_model(tokenizer, tiny_lm, documents):
    """Forward losses are the forward model's, reverse losses the reverse model's."""
    torch.manual_seed(5)
    other = from_config(ModelConfig(config=dict(TINY)), tokenizer, 130).eval()
    first, second = (language_model(model, tokenizer) for model in (tiny_lm, other))
    pair = token_losses(Scorer({FORWARD: first, REVERSE: second}), documents)
    alone = [token_losses(Scorer(dict.fromkeys(Direction, lm)), documents) for lm in (first, second)]
    assert np.allclose(pair.nll[0], alone[0].nll[0], atol=1e-5)
    assert np.allclose(pair.nll[1], alone[1].nll[1], atol=1e-5)
    assert not np.allclose(pair.nll[1], alone[0].nll[1], atol=1e-2)


def test_a_pair_with_different_tokenizers_is_refused(tokenizer, tiny_lm):
    """Their losses would speak of different tokens."""
    from revlm.data.tokens import train_bpe

    other = train_bpe(["other text altogether"] * 3, 300)
    models = {FORWARD: language_model(tiny_lm, tokenizer), REVERSE: language_model(tiny_lm, other)}
    with pytest.raises(UserError, match="different tokenizers"):
        Scorer(models)


def test_a_loss_that_is_no_number_names_its_document(scorer, tiny_lm):
    """Damaged weights are an error that says where they showed, not a NaN in a table."""

    def damage(module, inputs, output):
        return torch.where(inputs[0][..., None] == 77, torch.nan, output)

    tiny_lm.get_input_embeddings().register_forward_hook(damage)
    good, bad = np.full(30, 8), np.append(np.full(29, 9), 77)
    with pytest.raises(UserError, match=r"document poor: the .* loss is nan"):
        scorer.token_losses(as_documents(good, bad), ["fine", "poor"])


def test_logits_are_never_held_for_more_than_the_budget(tokenizer, monkeypatch):
    """However long the document and large the vocabulary, no more logits are made at once."""
    shape = TINY | {"vocab_size": 100_000, "tie_word_embeddings": False}
    model = from_config(ModelConfig(config=shape), tokenizer, 513)
    lm = language_model(model, tokenizer, window=512)
    held = []
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: held.append(output.numel()))
    scorer = Scorer(dict.fromkeys(Direction, lm))
    held.clear()
    token_losses(scorer, as_documents(np.random.default_rng(0).integers(4, 512, 3000)))
    assert len(held) > 1
    assert max(held) <= 1 << 24


def test_a_dataset_is_scored_in_three_lines(scorer, corpus):
    """`dataset.map(scorer, batched=True)` adds the columns, and gives what token_losses gives."""
    some = corpus.dataset.select(range(12))
    scored = some.map(scorer, batched=True, batch_size=5)
    losses = token_losses(scorer, encode(scorer.tokenize, list(some["text"])))
    forward, reverse = losses.sums() / losses.counts()
    assert np.allclose(scored["s"], forward - reverse, atol=1e-5)
    assert scored["doc_id"] == some["doc_id"]


def test_texts_too_short_for_two_directions_have_no_score(scorer):
    """An empty text and one of a single token give None, and their neighbours stay in place."""
    columns = scorer({"text": ["", "a", "several words stand here"]})
    assert columns["s"][:2] == [None, None]
    assert columns["s"][2] is not None
    assert columns["num_tokens"][0] == 0


def test_scoring_held_out_documents_gives_the_runs_validation_loss(smoke_run, compose, cache_dir):
    """Trainer and scorer, packed rows and single windows: the same loss for the same documents."""
    import json

    from revlm.config import BudgetConfig, DirectionConfig, TokenizerConfig

    composed = compose("+experiment=from_scratch_mixed", "scale=smoke")
    options = {key: composed.data[key] for key in ("window", "max_val_tokens", "max_bytes_per_domain")}
    data = TokenStreamDataModule(
        DataConfig(domains=list(composed.data.domains), **options),
        tokenizer=TokenizerConfig(vocab_size=composed.tokenizer.vocab_size),
        direction=DirectionConfig(),
        budget=BudgetConfig(batch_size=composed.budget.batch_size, tokens=composed.budget.tokens),
        seed=0,
        cache_dir=cache_dir,
    )
    data.setup("fit")
    held_out = np.unique(data.val_streams[0].windows.doc)
    scorer = Scorer.open(str(smoke_run / "model"), cache_dir=cache_dir)
    losses = token_losses(scorer, data.store.take(held_out))
    forward, reverse = losses.sums().sum(1) / losses.counts().sum(1)
    summary = json.loads((smoke_run / "summary.json").read_text())
    assert forward == pytest.approx(summary["nll_forward"], abs=1e-5)
    assert reverse == pytest.approx(summary["nll_reverse"], abs=1e-5)


def test_special_tokens_in_text_stay_text(scorer):
    """A document that spells the begin token is not given one."""
    ids = encode(plain_tokenizer(scorer.models[FORWARD].tokenizer), ["a <|bos|> b"])
    assert scorer.layout.bos not in ids.ids


@pytest.mark.parametrize(
    ("text", "said"), [(None, "text is None"), (3, "text is 3"), ("a\ud83d", "lone surrogate")]
)
def test_a_row_without_a_text_is_named(scorer, text, said):
    """`Dataset.map(scorer)` over a column with holes says which row, not what the tokenizer thinks of it."""
    with pytest.raises(UserError, match=f"row 1 of the batch: {said}"):
        scorer({"text": ["a text", text]})
