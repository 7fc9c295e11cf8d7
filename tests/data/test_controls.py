"""The null controls: texts whose S is known, and known for the stated reason."""

import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from revlm.config import CorpusConfig, Source
from revlm.data import controls
from revlm.data.controls import (
    arrow_code,
    markov_chain,
    read_arrow,
    read_markov,
    read_shuffled_words,
    reverse_kernel,
    stationary_distribution,
    transition_kernel,
)
from revlm.data.corpus import load_corpus
from revlm.data.hashes import hashes
from revlm.errors import UserError

ROOT = Path(__file__).parents[2]
PRINTS = """
import sys
from pathlib import Path
from revlm.config import CorpusConfig, Source
from revlm.data.corpus import load_corpus
for source in (Source.shuffled_words, Source.markov, Source.arrow):
    path = None if source is Source.arrow else sys.argv[1]
    config = CorpusConfig(source=source, path=path, max_documents=5, seed=3)
    print(load_corpus(config, Path(sys.argv[2])).fingerprint)
"""
TEXTS = [
    "The cat saw the dog,\n  and the dog\tsaw the cat.\n\nThe end of the tale",
    " of the dog that saw the end",
    "one  two three four five six seven eight nine ten\n",
    "the dog and the cat and the end",
    "of the tale that the cat saw and the dog of the end",
]


@pytest.fixture
def base(tmp_path):
    """A base text of two domains in one file."""
    path = tmp_path / "base.jsonl"
    rows = [
        {"text": text, "domain": "ab"[number % 2], "label": str(number)} for number, text in enumerate(TEXTS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def control(source, path=None, **options):
    return CorpusConfig(source=Source[source], path=path and str(path), **options)


def kernels(size=4):
    """Kernels with every transition possible."""
    weights = arrays(np.float64, (size, size), elements=st.floats(0.01, 1))
    return weights.map(lambda rows: rows / rows.sum(axis=1, keepdims=True))


def log_probability(states, kernel):
    """Of a stretch of a stationary chain."""
    steps = np.log(kernel[states[:-1], states[1:]]).sum()
    return np.log(stationary_distribution(kernel)[states[0]]) + steps


def test_shuffling_moves_words_and_nothing_else(base):
    """Words stay the same ones, white space stays in its place, and so do domain and label."""
    documents = read_shuffled_words(control("shuffled_words", base, domain="domain", label="label"), [])
    for number, (document, text) in enumerate(zip(documents, TEXTS, strict=True)):
        assert document.text != text
        assert Counter(document.text.split()) == Counter(text.split())
        assert re.findall(r"\s+", document.text) == re.findall(r"\s+", text)
        assert document[:1] + document[2:] == (
            f"shuffled/base.jsonl:{number + 1}",
            "ab"[number % 2],
            "en",
            str(number),
        )


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_a_word_without_spaces_is_a_character(tmp_path, language):
    """Chinese and Japanese are shuffled by characters, their white space left alone."""
    text = "春眠不觉晓 处处闻啼鸟\n夜来风雨声"
    (tmp_path / "poem.txt").write_text(text)
    (document,) = read_shuffled_words(control("shuffled_words", tmp_path, language=language), [])
    assert sorted(document.text) == sorted(text)
    assert [len(line) for line in re.split(r"\s", document.text)] == [5, 5, 5]
    assert document.text != text


def test_every_order_of_words_is_as_likely(tmp_path):
    """Over many seeds each of three words stands in each place a third of the time."""
    (tmp_path / "a.txt").write_text("x y z")
    configs = [control("shuffled_words", tmp_path, seed=seed) for seed in range(600)]
    orders = Counter(next(read_shuffled_words(config, [])).text for config in configs)
    assert len(orders) == 6
    assert max(abs(count - 100) for count in orders.values()) < 45


def test_controls_are_the_same_in_every_process(tmp_path, base):
    """Neither Python's random hashes nor the process decide a word."""
    outputs = []
    for number in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PRINTS, str(base), str(tmp_path / number)],
            env=os.environ | {"PYTHONHASHSEED": number},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout.split())
    assert len(set(outputs[0])) == 3
    assert outputs[0] == outputs[1]


def test_controls_are_the_same_on_every_machine():
    """A fixed seed gives the text that it gave when this was written."""
    document = next(read_arrow(control("arrow", max_documents=1)))
    assert document.text == " * b h k m q w\n & b e l o q v\n Q a h k n t u\n K c g i m s w\n"
    assert hashes("1/a/b", 2).tolist() == [0x922F6D03DF5D75AC, 0x68A6608CF0A938ED]


@pytest.mark.parametrize("source", ["shuffled_words", "markov", "arrow"])
def test_the_seed_is_part_of_the_corpus(tmp_path, base, source):
    """Another seed gives another text under the same ids, and is not answered from the cache."""
    path = None if source == "arrow" else base
    corpora = [
        load_corpus(control(source, path, seed=seed, max_documents=4), tmp_path / "cache").dataset
        for seed in (0, 1)
    ]
    assert corpora[0]["doc_id"][:] == corpora[1]["doc_id"][:]
    assert corpora[0]["text"][:] != corpora[1]["text"][:]


def test_the_cache_knows_the_base_text(tmp_path, base):
    """A changed base text gives a new corpus."""
    config = control("markov", base, max_documents=2)
    before = load_corpus(config, tmp_path / "cache")
    base.write_text(json.dumps({"text": "entirely different words, these"}) + "\n")
    assert load_corpus(config, tmp_path / "cache").fingerprint != before.fingerprint


@given(kernels())
def test_the_stationary_distribution_is_stationary(kernel):
    """One step of the chain leaves it as it is, and it is a distribution."""
    pi = stationary_distribution(kernel)
    np.testing.assert_allclose(pi @ kernel, pi, atol=1e-12)
    assert pi.sum() == pytest.approx(1, abs=1e-12)


@given(kernels())
def test_reversing_a_kernel_twice_gives_it_back(kernel):
    """The reverse is a kernel with the same stationary distribution, and reversal an involution."""
    reverse = reverse_kernel(kernel)
    np.testing.assert_allclose(reverse.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(stationary_distribution(reverse), stationary_distribution(kernel), atol=1e-12)
    np.testing.assert_allclose(reverse_kernel(reverse), kernel, atol=1e-12)


@given(kernels(), st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_a_stretch_is_as_likely_read_either_way(kernel, states):
    """S of every stretch is 0 to 1e-9 where the chain and its reverse are the models."""
    forward = log_probability(np.array(states), kernel)
    reverse = log_probability(np.array(states[::-1]), reverse_kernel(kernel))
    assert forward == pytest.approx(reverse, abs=1e-9)


def test_a_chain_has_an_arrow_before_it_is_reversed():
    """A cycle that runs one way is not its own reverse: the laws above are not about symmetric chains."""
    kernel = np.array([[0.0, 0.9, 0.1], [0.1, 0.0, 0.9], [0.9, 0.1, 0.0]]) * 0.9 + 0.1 / 3
    states = np.array([0, 1, 2] * 10)
    assert log_probability(states, kernel) > log_probability(states[::-1], kernel) + 20


def test_the_chain_is_counted_from_the_base_text(base):
    """States are its most frequent words, weights its pairs plus one, each document a ring."""
    words, pairs = markov_chain(control("markov", base))
    counts = Counter(word for text in TEXTS for word in text.split())
    assert words[:3] == ["the", "and", "dog"]
    assert set(words) == set(counts)
    rings = Counter(pair for text in TEXTS for pair in zip(text.split(), _rotated(text.split()), strict=True))
    for (i, first), (j, second) in itertools.product(enumerate(words), repeat=2):
        assert pairs[i, j] == rings[first, second] + 1


def _rotated(words):
    return words[1:] + words[:1]


def test_the_start_of_the_chain_is_stationary(base):
    """What the first word is drawn from, sums of weights, is the kernel's stationary distribution."""
    _, pairs = markov_chain(control("markov", base))
    assert (pairs.sum(axis=0) == pairs.sum(axis=1)).all()
    expected = stationary_distribution(transition_kernel(pairs))
    np.testing.assert_allclose(pairs.sum(axis=1) / pairs.sum(), expected, atol=1e-12)


def test_markov_text_has_the_frequencies_of_its_chain(base, monkeypatch):
    """First words come as the stationary distribution says, and pairs as the kernel says."""
    monkeypatch.setattr(controls, "MARKOV_STATES", 4)
    config = control("markov", base, max_documents=2000)
    words, pairs = markov_chain(config)
    number = {word: index for index, word in enumerate(words)}
    starts, steps = np.zeros(4), np.zeros((4, 4))
    for document in read_markov(config, []):
        states = [number[word] for word in document.text.split(" ")[1:]]
        assert len(states) == controls.MARKOV_WORDS
        starts[states[0]] += 1
        np.add.at(steps, (states[:-1], states[1:]), 1)
    np.testing.assert_allclose(starts / 2000, pairs.sum(axis=1) / pairs.sum(), atol=0.05)
    np.testing.assert_allclose(steps / steps.sum(1, keepdims=True), transition_kernel(pairs), atol=0.01)


def test_markov_words_are_tokens_of_their_own():
    """A space stands before each word, the first one too: no token tells where a document begins."""
    document = next(read_markov(control("markov", domains=["plots"], max_documents=1), []))
    assert re.fullmatch(r"( \S+){200}", document.text)


def test_arrow_words_follow_from_the_name_of_their_line():
    """In every line word i is the letter of place i that the name's polynomial has there."""
    for document in read_arrow(control("arrow", max_documents=50)):
        lines = document.text.splitlines()
        assert len(lines) == controls.ARROW_LINES
        for line in lines:
            name, *words = line[1:].split(" ")
            number = ord(name) - ord("!")
            a, b, c = number // 16, number // 4 % 4, number % 4
            values = [c, a ^ b ^ c, *(_polynomial(a, b, c, x) for x in (2, 3)), a, b]
            assert words == ["abcdefghijklmnopqrstuvwx"[4 * place + v] for place, v in enumerate(values)]


def _polynomial(a, b, c, x):
    """By the rule 2 * 2 = 2 + 1 instead of the table."""
    return _times(a, _times(x, x)) ^ _times(b, x) ^ c


def _times(a, b):
    product = (a if b & 1 else 0) ^ (a << 1 if b & 2 else 0)
    return product ^ 0b111 if product & 4 else product


def test_arrow_lines_carry_the_same_information_either_way():
    """Name and words determine each other, so a line holds ln 64 nats whichever is read first."""
    assert len({tuple(arrow_code(name)) for name in range(64)}) == 64
    assert len({controls.arrow_line(name) for name in range(64)}) == 64


def test_arrow_words_tell_nothing_by_pairs():
    """Any three words take all 64 combinations once: two tell nothing about a third; three tell the rest."""
    table = np.array([arrow_code(name) for name in range(64)])
    for places in itertools.combinations(range(6), 3):
        assert len({tuple(row) for row in table[:, places]}) == 64


def test_arrow_names_are_drawn_uniformly():
    """Each of the 64 names begins its share of the lines."""
    texts = (document.text for document in read_arrow(control("arrow", max_documents=3200)))
    counts = Counter(line[1] for text in texts for line in text.splitlines())
    assert len(counts) == 64
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 63 + 5 * math.sqrt(2 * 63)


@pytest.mark.parametrize("source", ["markov", "arrow"])
@pytest.mark.parametrize(
    "cap", [{"max_documents": 7}, {"max_bytes": 8000}, {"max_bytes_per_domain": 8000}], ids=str
)
def test_caps_say_how_much_is_made(tmp_path, base, source, cap):
    """A made corpus fills its cap, stands under its own name, and goes on where a smaller one ends."""
    path = None if source == "arrow" else base
    small, large = (
        load_corpus(control(source, path, **{name: times * value for name, value in cap.items()}), tmp_path)
        for times in (1, 3)
    )
    size = sum(len(text) for text in small.dataset["text"])
    assert len(small.dataset) == 7 if "max_documents" in cap else 6500 < size <= 8000
    assert set(small.dataset["domain"]) == {source}
    assert large.dataset["doc_id"][: len(small.dataset)] == small.dataset["doc_id"][:]
    assert len(large.dataset) > 2 * len(small.dataset)


def test_caps_of_shuffled_words_are_those_of_documents(tmp_path, base):
    """Documents keep their domains, and caps choose among them as among any."""
    config = control("shuffled_words", base, domain="domain", domains=["b"], max_documents=1)
    dataset = load_corpus(config, tmp_path / "cache").dataset
    assert dataset["domain"][:] == ["b"]


def test_domains_of_markov_choose_its_base_text(tmp_path, base):
    """Only words of the chosen domains come in, and the made text is kept all the same."""
    config = control("markov", base, domain="domain", domains=["b"], max_documents=3)
    dataset = load_corpus(config, tmp_path / "cache").dataset
    assert len(dataset) == 3
    assert {w for text in dataset["text"] for w in text.split()} <= {
        w for t in TEXTS[1::2] for w in t.split()
    }


def test_the_sample_is_the_base_without_a_path(tmp_path):
    """Shuffled sample documents have the sample's domains and its words."""
    options = {"domains": ["plots", "finance"], "max_documents": 30}
    plain = load_corpus(CorpusConfig(domains=["plots", "finance"]), tmp_path).dataset
    shuffled = load_corpus(control("shuffled_words", **options), tmp_path).dataset
    texts = dict(zip(plain["doc_id"], plain["text"], strict=True))
    assert set(shuffled["domain"]) == {"plots", "finance"}
    for row in shuffled:
        assert sorted(row["text"].split()) == sorted(texts[row["doc_id"].removeprefix("shuffled/")].split())


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("markov", {}, r"data=markov has no end of its own: set data\.max_documents"),
        ("arrow", {}, r"data=arrow has no end of its own"),
        ("arrow", {"max_bytes": 10}, r"data=arrow gives an empty corpus"),
        ("arrow", {"max_documents": 0}, r"data\.max_documents=0 keeps nothing"),
        (
            "arrow",
            {"domains": ["law"], "max_documents": 1},
            r"data=arrow has no base text: leave data\.domains",
        ),
        ("markov", {"domains": ["lwa"], "max_documents": 1}, r"'lwa' is no sample domain"),
        ("markov", {"path": "BASE", "domains": ["c"], "max_documents": 1}, r"base text has no domain 'c'"),
        ("shuffled_words", {"path": "BASE", "domains": ["c"]}, r"base text has no domain 'c'"),
        ("shuffled_words", {"path": "/no/such/file.txt"}, r"matches no readable file"),
        ("markov", {"path": "ONE", "max_documents": 1}, r"found 1 different words"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_told_in_one_line(tmp_path, base, source, options, message):
    """A bad option names itself and the way out, and leaves no corpus."""
    (tmp_path / "one.txt").write_text("word word")
    places = {"BASE": str(base), "ONE": str(tmp_path / "one.txt")}
    if "path" in options:
        options = options | {"path": places.get(options["path"], options["path"])}
    with pytest.raises(UserError, match=message) as error:
        load_corpus(control(source, **options), tmp_path / "cache")
    assert "\n" not in str(error.value)
    folders = tmp_path / "cache" / "corpora"
    assert not folders.exists() or not [path for path in folders.iterdir() if path.is_dir()]
