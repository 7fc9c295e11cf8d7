"""Counting as a baseline: the published formulas, a plain dictionary, and probabilities that sum to one."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from revlm.statistics.kneser_ney import FALLBACK, KneserNey, discounts_of

BEGIN = -1


def windows_of(rng, number, vocab_size=12, longest=9):
    """Random windows whose tokens lean on the one before, of one token and more."""
    found = []
    for length in rng.integers(1, longest + 1, number):
        ids = [int(rng.integers(vocab_size))]
        while len(ids) < length:
            follows = 3 * ids[-1] + int(rng.integers(2))
            ids.append((follows if rng.random() < 0.7 else int(rng.integers(vocab_size))) % vocab_size)
        found.append(np.array(ids))
    return found


class Naive:
    """The same model with a dictionary of tuples a level, one token at a time."""

    def __init__(self, windows, vocab_size, order):
        self.vocab_size, self.order = vocab_size, order
        raw = defaultdict(Counter)
        for ids in windows:
            tokens = [BEGIN, *ids.tolist()]
            for n in range(1, order + 1):
                for end in range(max(n, 2), len(tokens) + 1):
                    raw[n][tuple(tokens[end - n : end])] += 1
        self.counts, self.discounts = {}, {}
        for n in range(1, order + 1):
            others = Counter(gram[1:] for gram in raw[n + 1])
            adjusted = {
                gram: count if n == order or gram[0] == BEGIN else others[gram]
                for gram, count in raw[n].items()
            }
            self.counts[n] = adjusted
            self.discounts[n] = discounts_of(np.array(list(adjusted.values()), dtype=np.int64))

    def probability(self, token, history):
        """p(token | the last tokens of the history), by the recursion as it is published."""
        if len(history) > self.order - 1:
            return self.probability(token, history[1:])
        below = self.probability(token, history[1:]) if history else 1 / self.vocab_size
        n = len(history) + 1
        followers = {gram: count for gram, count in self.counts[n].items() if gram[:-1] == history}
        if not followers:
            return below
        taken = [self.discounts[n][min(count, 3) - 1] for count in followers.values()]
        count = followers.get((*history, token), 0)
        own = count - self.discounts[n][min(count, 3) - 1] if count else 0
        return (own + sum(taken) * below) / sum(followers.values())

    def nll(self, windows):
        return [
            -math.log(self.probability(int(token), (BEGIN, *ids[:at].tolist())))
            for ids in windows
            for at, token in enumerate(ids)
        ]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("number", [3, 30, 300])
def test_losses_equal_a_plain_dictionarys(order, number):
    """Sorted arrays and a recursion over tuples give the same loss of every token, known and unknown."""
    rng = np.random.default_rng(number)
    train, held_out = windows_of(rng, number), windows_of(rng, 40, vocab_size=14)
    expected = Naive(train, 14, order).nll(held_out)
    found = KneserNey(train, vocab_size=14, order=order).nll(held_out)
    assert found[order] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("context", [[], [0], [3, 9, 2], [7, 7, 7, 7], [11], [2, 11, 5], [11, 11]])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_sum_to_one(context, order):
    """Over the vocabulary, behind contexts that were seen, in part or never; token 11 was never seen."""
    train = windows_of(np.random.default_rng(0), 200, vocab_size=11)
    model = KneserNey(train, vocab_size=12)
    losses = model.nll([np.array([*context, token]) for token in range(12)])[order]
    each = losses.reshape(12, -1)[:, -1]
    assert np.exp(-each).sum() == pytest.approx(1, abs=1e-12)


def test_a_worked_toy_is_the_published_formula():
    """Six tokens occur once, two twice, one three and one four times: 17 in all, in a vocabulary of 20."""
    ids = [0, 1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 8, 8, 9, 9, 9, 9]
    y = 6 / (6 + 2 * 2)
    one, two, three = 1 - 2 * y * 2 / 6, 2 - 3 * y * 1 / 2, 3 - 4 * y * 1 / 1
    passed = (6 * one + 2 * two + 2 * three) / 17 / 20
    expected = [(1 - one) / 17 + passed, (2 - two) / 17 + passed, (4 - three) / 17 + passed, passed]
    losses = KneserNey([np.array(ids)], vocab_size=20, order=1).nll([np.array([0, 6, 9, 15])])[1]
    assert np.exp(-losses) == pytest.approx(expected, abs=1e-12)


def test_below_the_top_a_token_counts_by_what_stands_before_it():
    """The published example: what follows one token only is no likely word elsewhere, however frequent it is."""
    often = [np.array([1, 2]) for _ in range(50)]
    varied = [np.array([before, 3]) for before in range(4, 14)]
    model = KneserNey([*often, *varied], vocab_size=16)
    _, behind_another = model.nll([np.array([15, 2])])[2]
    _, varied_one = model.nll([np.array([15, 3])])[2]
    assert varied_one < behind_another


def test_no_n_gram_crosses_the_start_of_a_window():
    """The order of windows changes no loss, and the first token is known from the begin symbol alone."""
    train = windows_of(np.random.default_rng(1), 100)
    held_out = windows_of(np.random.default_rng(2), 10)
    one, other = (KneserNey(w, vocab_size=12).nll(held_out)[4] for w in (train, train[::-1]))
    assert one == pytest.approx(other, abs=1e-12)
    each = np.concatenate([KneserNey(train, vocab_size=12).nll([window])[4] for window in held_out])
    assert one == pytest.approx(each, abs=1e-12)


@pytest.mark.parametrize("windows", [[[0]], [[0, 0, 0, 0]], [[0], [1]], [[], [0, 1]]])
def test_any_text_gives_finite_losses(windows):
    """Text without trigrams, or of one token alone, and tokens that never occurred."""
    model = KneserNey([np.array(ids, dtype=np.uint16) for ids in windows], vocab_size=70_000)
    losses = model.nll([np.array([0, 1, 69_999, 0, 5]), np.array([], dtype=np.int64)])
    assert list(losses) == [1, 2, 3, 4]
    assert all(np.isfinite(each).all() and len(each) == 5 for each in losses.values())


def test_longer_histories_help_where_the_text_has_them():
    """In a text whose next token follows from the last three, each order is better than the one below."""
    rng = np.random.default_rng(3)
    windows = []
    for _ in range(400):
        ids = rng.integers(0, 8, 3).tolist()
        while len(ids) < 40:
            ids.append(
                (ids[-1] + 2 * ids[-2] + 3 * ids[-3]) % 8 if rng.random() < 0.9 else int(rng.integers(8))
            )
        windows.append(np.array(ids))
    losses = KneserNey(windows[:350], vocab_size=8).nll(windows[350:])
    assert losses[4].mean() < losses[3].mean() - 0.5 < losses[2].mean()
    # What is left is the noise: -(0.9 + 0.1 / 8) log(...) and the rest spread over seven others.
    noise = -(0.9125 * math.log(0.9125) + 7 * 0.0125 * math.log(0.0125))
    assert losses[4].mean() == pytest.approx(noise, abs=0.35)


def test_discounts_fall_back_where_counts_of_counts_give_none():
    """No n-gram of some count, or a discount below zero, leaves the usual numbers."""
    assert discounts_of(np.array([1, 1, 1])) == FALLBACK
    assert discounts_of(np.array([1] * 4 + [2] * 4 + [3] * 1 + [4] * 9)) == FALLBACK


@pytest.mark.parametrize("ids", [[[12]], [[-1]], []])
def test_tokens_outside_of_the_vocabulary_are_refused(ids):
    """Neither they nor nothing at all can be counted."""
    with pytest.raises(ValueError, match=r"vocabulary of 12|no token"):
        KneserNey([np.array(window) for window in ids], vocab_size=12)
