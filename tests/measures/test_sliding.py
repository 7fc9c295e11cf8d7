"""The same token given its left and given its right: planted losses, an exact chain, a naive loop."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from revlm.config import Granularity
from revlm.data.tokens import begin_id
from revlm.data.units import units_of
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures import sliding as sliding_module
from revlm.measures.scoring import Scorer
from revlm.measures.sliding import Sliding, context_sums
from revlm.statistics.bootstrap import ratio_effect
from tests.measures.test_scoring import MarkovConfig, MarkovLM, as_documents, language_model

FORWARD, REVERSE = Direction
SLIDING = Sliding(17, 4)
LENGTHS = (16, 17, 20, 21, 50, 33, 3, 101)


def sums_of(scorer, documents, sliding=SLIDING):
    return context_sums(scorer, documents, [str(d) for d in range(len(documents))], sliding)


def tokens_of(length, sliding):
    """Tokens that are paired at each k, by looking at all pairs of windows: {k: [t, ...]}."""
    starts = range(0, length - sliding.window + 1, sliding.stride)
    found = {}
    for a1 in starts:
        for a2 in starts:
            k, odd = divmod(a2 - a1 + sliding.window - 1, 2)
            assert not odd
            if 0 <= k < sliding.window:
                found.setdefault(k, []).append(a1 + k)
    return found


@pytest.fixture
def documents():
    """Documents of random tokens around every boundary: too short, just long enough, long."""
    rng = np.random.default_rng(0)
    return as_documents(*(rng.integers(4, 512, length) for length in LENGTHS))


@pytest.fixture
def scorer(tiny_lm, tokenizer):
    return Scorer(dict.fromkeys(Direction, language_model(tiny_lm, tokenizer, window=17)))


class IndexLM(PreTrainedModel):
    """Loses as many hundredths of a nat on a token as its id says, whatever stands before it."""

    config_class = MarkovConfig

    def __init__(self, size):
        super().__init__(MarkovConfig(vocab_size=size))
        logits = -0.01 * torch.arange(size, dtype=torch.float64)
        self.logits = torch.nn.Parameter(logits)
        self.constant = float(logits.logsumexp(0))

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids, **_):
        return CausalLMOutput(logits=self.logits.expand(*input_ids.shape, -1))


@pytest.mark.parametrize(
    "sliding", [Sliding(17, 4), Sliding(17, 2), Sliding(17, 16), Sliding(9, 6), Sliding(5, 8)]
)
def test_both_directions_speak_of_the_same_tokens(tokenizer, sliding):
    """With loss = token index, both sums are the sum of the indices that all pairs of windows give."""
    model = IndexLM(len(tokenizer))
    scorer = Scorer(dict.fromkeys(Direction, language_model(model, tokenizer, window=sliding.window)))
    documents = as_documents(*(np.arange(4, 4 + length) for length in LENGTHS))
    sums = sums_of(scorer, documents, sliding)
    for d, length in enumerate(LENGTHS):
        tokens = tokens_of(length, sliding)
        assert set(tokens) <= set(sliding.contexts.tolist())
        for at, k in enumerate(sliding.contexts.tolist()):
            expected = tokens.get(k, [])
            assert sums.num_tokens[d, at] == len(expected)
            indices = (sums.nll[:, d, at] - len(expected) * model.constant) / 0.01
            assert indices == pytest.approx([sum(expected) + 4 * len(expected)] * 2, abs=1e-6)


def test_losses_equal_a_naive_loop(scorer, tiny_lm, documents):
    """One token at a time, BOS and its k neighbours on one side: the same sums to 1e-5 a token."""
    sums = sums_of(scorer, documents)
    for d, length in enumerate(LENGTHS):
        ids = documents.document(d)
        tokens = tokens_of(length, SLIDING)
        for at, k in enumerate(SLIDING.contexts.tolist()):
            naive = np.zeros(2)
            for t in tokens.get(k, []):
                sides = ids[t - k : t], ids[t + 1 : t + 1 + k][::-1]
                assert [len(side) for side in sides] == [k, k]
                rows = torch.tensor([[scorer.layout.bos, *side] for side in sides])
                with torch.no_grad():
                    naive -= tiny_lm(rows).logits[:, -1].log_softmax(-1)[:, ids[t]].double().numpy()
            assert sums.nll[:, d, at] == pytest.approx(naive, abs=1e-5 * max(1, len(tokens.get(k, []))))


@pytest.fixture(scope="module")
def chain(tokenizer):
    """An exact stationary chain of 40 tokens with a strong arrow, its reversal, and texts drawn from it."""
    rng = np.random.default_rng(0)
    size, bos, states = len(tokenizer), begin_id(tokenizer), np.arange(100, 140)
    some = rng.dirichlet(np.full(len(states), 0.1), len(states)) + 1e-4
    some /= some.sum(1, keepdims=True)
    stationary = np.full(len(states), 1 / len(states))
    for _ in range(2000):
        stationary = stationary @ some
    tables = {FORWARD: some, REVERSE: some.T * stationary / stationary[:, None]}
    start = np.full(size, 1e-300)
    start[states] = stationary
    models = {}
    for direction, table in tables.items():
        kernel = np.full((size, size), 1e-300)
        kernel[np.ix_(states, states)] = table
        models[direction] = language_model(
            MarkovLM(kernel, start, bos), tokenizer, window=33, name=str(direction)
        )
    texts = []
    for _ in range(60):
        walk = [rng.choice(len(states), p=stationary)]
        while len(walk) < 300:
            walk.append(rng.choice(len(states), p=some[walk[-1]]))
        texts.append(states[walk])
    return Scorer(models), as_documents(*texts), np.log(start), np.log(some)


def test_a_chain_without_context_is_the_same_either_way(chain):
    """At k = 0 both directions give the stationary loss of the same tokens."""
    scorer, documents, _, _ = chain
    sums = sums_of(scorer, documents, Sliding(33, 8))
    assert sums.num_tokens[:, 0].min() > 0
    assert np.abs(sums.nll[0, :, 0] - sums.nll[1, :, 0]).max() <= 1e-9


def test_a_chain_tells_as_much_from_either_side(chain):
    """At k >= 1 the loss given the left neighbour and given the right one have equal means; token by token they follow from the chain."""
    scorer, documents, log_start, log_kernel = chain
    sliding = Sliding(33, 8)
    sums = sums_of(scorer, documents, sliding)
    expected = np.zeros_like(sums.nll)
    for d in range(len(documents)):
        ids = documents.document(d)
        for at, k in enumerate(sliding.contexts.tolist()):
            for t in tokens_of(len(ids), sliding)[k] if k else []:
                before, here, after = ids[t - 1 : t + 2] - 100
                # Bayes: the reversal's q(here | after) = p(after | here) start(here) / start(after).
                right = log_kernel[here, after] + log_start[here + 100] - log_start[after + 100]
                expected[:, d, at] -= [log_kernel[before, here], right]
    assert np.abs(sums.nll - expected)[:, :, 1:].max() <= 1e-8
    for at in range(1, len(sliding.contexts)):
        differences = np.stack([sums.nll[0, :, at] - sums.nll[1, :, at], sums.num_tokens[:, at]], axis=1)
        effect = ratio_effect(differences, resamples=2000)
        assert np.abs(differences).sum() > 0
        assert effect.p > 0.01
        assert abs(effect.value) < 0.05


def test_one_way_models_differ_where_the_chain_is_read_the_wrong_way(chain):
    """The measure can fail: the forward kernel used in both directions loses on the right side."""
    scorer, documents, _, _ = chain
    wrong = Scorer(dict.fromkeys(Direction, scorer.models[FORWARD]))
    sums = sums_of(wrong, documents, Sliding(33, 8))
    means = sums.nll.sum(1) / sums.num_tokens.sum(0)
    assert (means[1, 1:] - means[0, 1:] > 0.5).all()


def test_documents_that_are_too_short_have_no_tokens(scorer, documents):
    """A document shorter than a window counts nowhere; one of a window's length at the middle context alone."""
    sums = sums_of(scorer, documents)
    at = dict(zip(LENGTHS, sums.num_tokens.tolist(), strict=True))
    assert not any(at[16] + at[3])
    assert at[17] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert at[20] == at[17]
    assert at[21] == [0, 0, 0, 1, 2, 1, 0, 0, 0]
    assert at[33][0] == at[33][-1] == 1
    assert not sums.nll[:, sums.num_tokens == 0].any()


def test_sums_do_not_depend_on_how_many_windows_are_read_at_once(scorer, documents, monkeypatch):
    """Pieces that end within a document, and within a pair of windows, change nothing."""
    whole = sums_of(scorer, documents)
    monkeypatch.setattr(sliding_module, "READ_TOKENS", 3 * 17)
    pieces = sums_of(scorer, documents)
    assert np.allclose(pieces.nll, whole.nll, atol=1e-4)
    assert (pieces.num_tokens == whole.num_tokens).all()


def test_sixteen_context_lengths_come_out_by_default():
    """About as many for windows of every usual size, 0 and the longest among them for powers of two and one more."""
    for window in range(29, 1026, 2):
        assert 12 <= len(Sliding.checked(window).contexts) <= 22, window
    for power in range(5, 11):
        found = Sliding.checked(2**power + 1).contexts
        assert (found[0], found[-1], len(found)) == (0, 2**power, 17)
    assert Sliding.checked(65).stride == 8
    assert Sliding.checked(1).contexts.tolist() == [0]


@pytest.mark.parametrize(
    ("options", "words"),
    [((64,), "window=64 is even"), ((65, 3), "stride=3"), ((65, 0), "stride=0"), ((65, -2), "stride=-2")],
)
def test_windows_that_do_not_pair_up_are_refused(options, words):
    """An even window or an odd stride has no token with both windows on the grid."""
    with pytest.raises(UserError, match=words):
        Sliding.checked(*options)


def test_models_that_cannot_read_so_are_refused(tiny_lm, tokenizer, scorer, documents):
    """Windows longer than the model's, and units other than tokens."""
    with pytest.raises(
        UserError, match=r"window=19 is longer than the windows of tiny \(17\): set window=17"
    ):
        sums_of(scorer, documents, Sliding(19, 2))
    words = language_model(tiny_lm, tokenizer, units=units_of(Granularity.segment, 3, tokenizer))
    with pytest.raises(UserError, match="does not reverse token by token"):
        sums_of(Scorer(dict.fromkeys(Direction, words)), documents)
