"""Texts of a scoring run, and documents as HTML."""

import json

import pytest
import yaml

from revlm.errors import UserError
from revlm.explorer.texts import corpus_of, documents_html, texts_of
from revlm.pages.scores.run import read_score_run
from tests.scores.score_folders import documents, write_score_run

DATA = {"domains": ["finance", "bbc_news", "drama"], "max_bytes_per_domain": 60_000}


@pytest.fixture
def folder(corpus, cache_dir, tmp_path):
    """A scoring run of the corpus, with the options that make it."""
    about = {"corpus_fingerprint": corpus.fingerprint}
    folder = write_score_run(tmp_path / "run", documents(corpus), about=about)
    options = {"data": {"source": "sample", **DATA}, "cache": {"dir": str(cache_dir)}}
    (folder / "config.yaml").write_text(yaml.safe_dump(options))
    return folder


def test_a_run_knows_its_corpus(folder, corpus):
    """The options in its config.yaml give the very documents that were scored."""
    found = corpus_of(read_score_run(folder))
    assert found.fingerprint == corpus.fingerprint
    assert found.dataset["doc_id"] == corpus.dataset["doc_id"]


def test_another_corpus_is_refused(folder):
    """Texts that were not scored are never shown beside scores."""
    summary = json.loads((folder / "score.json").read_text())
    (folder / "score.json").write_text(json.dumps(summary | {"corpus_fingerprint": "other"}))
    with pytest.raises(UserError, match="holds scores of the corpus other"):
        corpus_of(read_score_run(folder))


def test_a_run_without_its_options_is_named(folder):
    """Which file, and what to do."""
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config\.yaml: no data, cache.*score again"):
        corpus_of(read_score_run(folder))


def test_texts_come_by_id_in_the_order_asked_for(corpus):
    """Each document's own text; one that is not there is named."""
    ids, texts = corpus.dataset["doc_id"], corpus.dataset["text"]
    wanted = [ids[7], ids[0], ids[3]]
    assert list(texts_of(corpus, wanted).items()) == [(ids[n], texts[n]) for n in (7, 0, 3)]
    with pytest.raises(UserError, match="'nobody' is no document"):
        texts_of(corpus, [ids[0], "nobody"])


def test_documents_are_shown_as_text_with_their_scores():
    """Markup in a text stays text, and what is cut is counted."""
    row = {"doc_id": "a/1", "domain": "a", "num_tokens": 9, "nll_forward": 4.0, "nll_reverse": 4.5, "s": -0.5}
    page = documents_html([row], {"a/1": "<script>" + "x" * 100}, title="Lowest <S>", most=18)
    assert "&lt;script&gt;" + "x" * 10 + " … [90 more characters]" in page
    assert "<script>" not in page
    assert "Lowest &lt;S&gt;" in page
    assert "S -0.500 = forward 4.000 \u2212 reverse 4.500; 9 tokens; a, a/1" in page
