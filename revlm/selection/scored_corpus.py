"""Score tables and the corpus they speak of, document by document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from revlm.data.corpus import Corpus
from revlm.errors import UserError
from revlm.progress import track
from revlm.selection.candidates import Candidates, CandidateTables, Mask, find_ids

_BATCH_IDS = 16_384


@dataclass(frozen=True)
class ScoredCorpus:
    """A corpus and the scores of its documents.

    Attributes:
        corpus: the text.
        tables: the numbers.
        rows: (documents,) int32, each document's row of `tables.candidates`, -1 for none: too short a
            document, or one of a damaged table.
    """

    corpus: Corpus
    tables: CandidateTables
    rows: npt.NDArray[np.int32]

    @property
    def candidates(self) -> Candidates:
        """The numbers."""
        return self.tables.candidates

    def wanted(self, chosen: Mask) -> Mask:
        """(documents,) bool, which documents of the corpus were chosen, from (N,) of the candidates."""
        return (self.rows >= 0) & chosen[self.rows]


def join(tables: CandidateTables, corpus: Corpus) -> ScoredCorpus:
    """Find every scored document in the corpus, by its id.

    Raises:
        UserError: a table says that it was made from another corpus, or the corpus does not hold a
            scored document; either is named.
    """
    for path, facts in zip(tables.paths, tables.facts, strict=True):
        scored = facts.get("corpus_fingerprint", corpus.fingerprint)
        if scored != corpus.fingerprint:
            raise UserError(
                f"{path} holds scores of the corpus {scored}, and data= is the corpus {corpus.fingerprint}: "
                "give the data options of the scoring run (its config.yaml has them), or score this corpus."
            )
    candidates = tables.candidates
    rows = np.empty(len(corpus.dataset), dtype=np.int32)
    met = np.zeros(len(candidates), dtype=np.bool_)
    start = 0
    for batch in corpus.dataset.select_columns("doc_id").iter(_BATCH_IDS):
        found = candidates.find(batch["doc_id"])
        rows[start : start + len(found)] = found
        met[found[found >= 0]] = True
        start += len(found)
    if not met.all():
        path, doc_id = find_ids(tables.paths, candidates.hashes[~met])[0]
        raise UserError(
            f"{path}: doc_id {doc_id!r} is no document of data= ({int((~met).sum())} of {len(met)} are not): "
            "give the data options of the scoring run (its config.yaml has them)."
        )
    return ScoredCorpus(corpus, tables, rows)


def documents(corpus: Corpus, wanted: Mask, columns: list[str], what: str) -> Iterator[pa.Table]:
    """Wanted ones of all (documents,) in the order of the corpus, a few at a time; others' texts are never touched.

    A progress bar says `what` is being done to them.
    """
    # The batches in which the corpus was written: a few megabytes, or one long document.
    start = 0
    with track(what, int(wanted.sum()), "documents") as bar:
        for batch in corpus.dataset.select_columns(columns).data.to_batches():
            here = wanted[start : start + len(batch)]
            start += len(batch)
            if here.any():
                yield pa.Table.from_batches([batch.filter(pa.array(here))])
                bar.update(int(here.sum()))
