"""Importance weights of texts by their hashed n-grams (DSIR), through its authors' package."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from revlm.data.corpus import Corpus
from revlm.data.order import keyed_hash
from revlm.scores.columns import FloatArray
from revlm.selection.candidates import Mask
from revlm.selection.scored_corpus import ScoredCorpus, documents

Texts = Callable[[], Iterable[str]]

# Raw text behind the n-gram distribution, as the score table counts tokens: some thousand counts
# for each of the 10,000 buckets, and a minute of hashing. Of a larger corpus a hash takes a share.
FIT_TOKENS = 20_000_000
_FIT = 0x666974


def fit(raw: Texts, target: Texts) -> Any:
    """N-gram distributions of raw and target text: hashed unigrams and bigrams in 10,000 buckets.

    Args:
        raw: gives the texts to choose from, or a fair share of them.
        target: gives the texts that a selection is to resemble.

    Returns:
        A fitted `data_selection.HashedNgramDSIR`.

    Source: Xie et al. 2023, arXiv 2302.03169, section 4; package data-selection.
    """
    from data_selection import HashedNgramDSIR

    # The package prints bars of its own, and makes a folder that this use leaves empty.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        model = HashedNgramDSIR(
            raw_datasets=["raw"],
            target_datasets=["target"],
            cache_dir=folder,
            raw_load_dataset_fn=lambda _: raw(),
            raw_parse_example_fn=str,
            target_load_dataset_fn=lambda _: target(),
            target_parse_example_fn=str,
            num_proc=1,
        )
        model.fit_importance_estimator(num_tokens_to_fit="all")
    return model


def weigh(scored: ScoredCorpus, target: Corpus) -> tuple[FloatArray, dict[str, Any]]:
    """Log importance weights of all scored documents, and what the record says of them.

    Documents that the target holds as well stay candidates (the published algorithm looks for no
    overlap); they are counted, because a target cut out of the corpus finds itself again.
    The published filter by length is not applied: what the score table holds can be chosen.

    Args:
        scored: the text to choose from, N scored documents.
        target: the text to resemble.

    Returns:
        (N,) log weights, and counts.
    """
    corpus, candidates = scored.corpus, scored.candidates
    everything = np.ones(len(candidates), dtype=np.bool_)
    share = min(1.0, FIT_TOKENS / int(candidates.num_tokens.sum()))
    sampled = (keyed_hash(candidates.hashes, _FIT) >> np.uint64(11)) < share * 2.0**53
    whole = np.ones(len(target.dataset), dtype=np.bool_)
    model = fit(
        lambda: _texts(corpus, scored.wanted(sampled), "counting n-grams"),
        lambda: _texts(target, whole, "counting the target's n-grams"),
    )
    known = {_content(text) for text in _texts(target, whole, "reading the target")}
    places, shared = scored.rows[scored.rows >= 0], 0
    weights = np.empty(len(candidates))
    texts = _texts(corpus, scored.wanted(everything), "weighing documents")
    for place, text in zip(places, texts, strict=True):
        shared += _content(text) in known
        # A sum over n-grams, not a mean: of two texts equally typical of the target, the longer one weighs more.
        weights[place] = float(model.importance_estimator(model.featurizer(text)))
    facts = {
        "corpus_fingerprint": target.fingerprint,
        "num_documents": len(target.dataset),
        "num_documents_in_target": shared,
        "num_documents_fitted": int(sampled.sum()),
        "num_tokens_fitted": int(candidates.num_tokens[sampled].sum()),
    }
    return weights, facts


def _texts(corpus: Corpus, wanted: Mask, what: str) -> Iterator[str]:
    for table in documents(corpus, wanted, ["text"], what):
        for value in table["text"]:
            yield value.as_py()


def _content(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
