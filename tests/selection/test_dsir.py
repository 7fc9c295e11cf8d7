"""Importance weights: the package that computes them against the published formula."""

import hashlib
import re
from itertools import pairwise

import numpy as np
import pytest

from revlm.config import CorpusConfig
from revlm.data.corpus import load_corpus
from revlm.selection import dsir
from revlm.selection.candidates import read_tables
from revlm.selection.scored_corpus import join


@pytest.fixture(scope="module")
def law(cache_dir):
    """A target unlike the corpus."""
    return load_corpus(CorpusConfig(domains=["law"], max_bytes_per_domain=30_000), cache_dir)


@pytest.fixture
def scored(score_rows, write_scores, corpus):
    """Real documents and their rows."""
    return join(read_tables([write_scores(score_rows)], None), corpus)


def reference(raw, target):
    """arXiv 2302.03169: sum over a text's hashed uni- and bigrams of log p_target - log p_raw."""

    def buckets(text):
        words = re.findall(r"\w+|[^\w\s]+", text.lower())
        grams = words + [" ".join(pair) for pair in pairwise(words)]
        return [int(hashlib.sha256(gram.encode()).hexdigest(), 16) % 10_000 for gram in grams]

    def distribution(texts):
        counts = sum(np.bincount(buckets(text), minlength=10_000) for text in texts)
        return counts / counts.sum()

    ratio = np.log(distribution(target) + 1e-8) - np.log(distribution(raw) + 1e-8)
    return [ratio[buckets(text)].sum() for text in raw]


def test_weights_are_the_published_formula(scored, law, score_rows):
    """On real documents, to rounding."""
    weights, _ = dsir.weigh(scored, law)
    ids = [row["doc_id"] for row in score_rows]
    texts = dict(zip(scored.corpus.dataset["doc_id"], scored.corpus.dataset["text"], strict=True))
    expected = reference([texts[doc_id] for doc_id in ids], law.dataset["text"])
    np.testing.assert_allclose(weights[scored.candidates.find(ids)], expected, rtol=1e-9)


def test_fitting_on_a_share_takes_a_fair_sample(scored, law, monkeypatch):
    """Above the cap a hash takes documents from all over the corpus, the same ones every time."""
    monkeypatch.setattr(dsir, "FIT_TOKENS", int(scored.candidates.num_tokens.sum()) // 3)
    first, facts = dsir.weigh(scored, law)
    second, _ = dsir.weigh(scored, law)
    assert (first == second).all()
    assert 0.15 < facts["num_documents_fitted"] / len(scored.candidates) < 0.55
    assert np.isfinite(first).all()


def test_documents_that_the_target_holds_are_counted(scored, corpus):
    """A target cut out of the corpus finds itself again, and the record says how often."""
    _, facts = dsir.weigh(scored, corpus)
    assert facts["num_documents_in_target"] == len(scored.candidates)
    assert facts["corpus_fingerprint"] == corpus.fingerprint


def test_nothing_is_printed(scored, law, capfd):
    """The package's own progress bars stay out of a log."""
    dsir.weigh(scored, law)
    assert capfd.readouterr() == ("", "")
