"""A model, or a pair, and the corpus that it reads, with the facts that all numbers follow from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from revlm.config import ContextsConfig, ScoreConfig
from revlm.data.corpus import Corpus, load_corpus
from revlm.data.tokens import TokenStore, build_store
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.scoring import Scorer


def open_scorer(config: ScoreConfig | ContextsConfig, forward: str, reverse: str | None) -> Scorer:
    """The scorer of a command's options.

    Args:
        config: of the command.
        forward: model by name or path, the forward one of a pair.
        reverse: the reverse one of a pair; None: one model reads both ways.

    Raises:
        UserError: a model cannot be read, or the two do not fit.
    """
    return Scorer.open(
        forward,
        reverse,
        options=config.model,
        window=config.window,
        batch_tokens=config.batch_tokens,
        cache_dir=Path(config.cache.dir),
    )


@dataclass(frozen=True)
class Opened:
    """What a run reads, and with what.

    Attributes:
        source: where the corpus comes from, as `data.source` says it.
        corpus: its documents.
        scorer: of the model or pair.
        store: token ids of the corpus.
        min_tokens: of a document that is read.
        documents: (D,) numbers in the store of those that are.
    """

    source: str
    corpus: Corpus
    scorer: Scorer
    store: TokenStore
    min_tokens: int
    documents: npt.NDArray[np.int64]

    @classmethod
    def open(
        cls, config: ScoreConfig | ContextsConfig, forward: str, reverse: str | None, *, shortest: str
    ) -> Opened:
        """Open model and corpus.

        Args:
            config: of the command.
            forward: model by name or path, the forward one of a pair.
            reverse: the reverse one of a pair; None: one model reads both ways.
            shortest: the option that says how many tokens a document must have.

        Raises:
            UserError: the model or the corpus cannot be read, or every document is too short.
        """
        cache = Path(config.cache.dir)
        corpus = load_corpus(config.data, cache)
        scorer = open_scorer(config, forward, reverse)
        held_out = np.zeros(len(corpus.dataset), dtype=np.bool_)
        tokenizer = scorer.models[Direction.FORWARD].tokenizer
        store = build_store(
            corpus.dataset, held_out, tokenizer, corpus_fingerprint=corpus.fingerprint, cache_dir=cache
        )
        min_tokens = int(getattr(config, shortest))
        documents = np.flatnonzero(store.lengths >= min_tokens)
        if not len(documents):
            raise UserError(
                f"no document has {shortest}={min_tokens} tokens; the longest has {store.lengths.max()}: "
                f"lower {shortest} or give longer documents."
            )
        return cls(config.data.source.value, corpus, scorer, store, min_tokens, documents)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(D,) tokens of each document that is read."""
        return self.store.lengths[self.documents]

    @property
    def skipped(self) -> dict[str, int]:
        """Documents left out, by reason."""
        short = {f"under {self.min_tokens} tokens": len(self.store) - len(self.documents)}
        reasons = self.corpus.skipped | self.store.skipped | short
        return {reason: count for reason, count in reasons.items() if count}

    def left_out(self) -> dict[str, Any]:
        """What was not read, for the record of a run: documents by reason, and what the corpus passed over."""
        return {"skipped": self.skipped, "read": self.corpus.read}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the numbers follow from, as tables and summaries say it; all weights are hashed once."""
        models = self.scorer.models
        forward, reverse = (models[direction] for direction in Direction)
        one = forward is reverse
        return {
            "model": forward.name if one else f"{forward.name}+{reverse.name}",
            "directions": [d.value for d in Direction if d in models[d].directions],
            "parameters": int(forward.model.num_parameters()),
            "model_fingerprint": forward.fingerprint(),
            "reverse_model_fingerprint": None if one else reverse.fingerprint(),
            "tokenizer_fingerprint": forward.tokenizer_fingerprint(),
            "corpus_fingerprint": self.corpus.fingerprint,
            "data": self.source,
            "window": self.scorer.layout.window,
            "begin_token": forward.begin,
            "precision": str(forward.model.dtype).removeprefix("torch."),
        }
