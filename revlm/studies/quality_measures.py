"""How well a measure tells better text from worse: in pairs of a text and its damaged copy, and on labelled sets."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from revlm.statistics.bootstrap import AUC_NULL, RESAMPLES, auc_effect
from revlm.statistics.effect import Effect
from revlm.studies.effects import pick, seeded, with_s

CLEAN = "clean"
KINDS = {
    "word_shuffle": "words shuffled",
    "sentence_shuffle": "sentences shuffled",
    "repetition": "sentences repeated",
    "truncation": "end cut off",
    "ocr": "characters misread",
}
LEVELS = (1, 2, 3)
# Which end of a measure is said to mark the better text: the paper's for S and the crossing, the
# usual reading for the others.
BETTER = {
    "s": ("S, higher", 1),
    "crossing": ("crossing, earlier", -1),
    "nll_forward": ("forward loss, lower", -1),
    "num_tokens": ("tokens, more", 1),
    "compression_ratio": ("compression ratio, higher", 1),
    "type_token_ratio": ("type-token ratio, higher", 1),
    "repeated_ngrams": ("repeated 3-grams, fewer", -1),
}
CONTROLS = ("nll_forward", "num_tokens", "compression_ratio", "type_token_ratio", "repeated_ngrams")
# Set -> (label of the better text, of the worse).
SETS = {
    "sms": ("ham", "spam"),
    "human_machine": ("human", "machine"),
    "summaries": ("factual", "unfactual"),
    "corrections": ("corrected", "error"),
}
# Those whose documents come in pairs; they differ in nothing but what the label says, or in length and kind alike.
PAIRED = {"human_machine", "summaries", "corrections"}
# Beyond every position of a window: a crossing that never happens counts as later than all.
NEVER = 1e9


def with_measures(documents: pd.DataFrame) -> pd.DataFrame:
    """Documents with S, the crossing as a rank, the original's id and the damage."""
    names = documents["label"].fillna("").str.split("/", n=1, expand=True).reindex(columns=[0, 1])
    return with_s(documents).assign(
        crossing=documents["intersection"].astype("Float64").fillna(NEVER).astype(float),
        original=documents["doc_id"].str.split("#").str[0],
        kind=names[0],
        level=pd.to_numeric(names[1], errors="coerce").fillna(0).astype(int),
    )


def against_clean(ladder: pd.DataFrame, kind: str, level: int, measure: str) -> pd.DataFrame:
    """Copies of one kind and level beside their originals: does the clean one have the better value?

    Returns:
        doc_id, domain, seed, win (1, 0, or 0.5 for a tie).
    """
    return _win(_beside_clean(ladder, kind, level), measure)


def _beside_clean(ladder: pd.DataFrame, kind: str, level: int) -> pd.DataFrame:
    """Copies of one kind and level beside their originals, with all measures of both."""
    return _beside(pick(ladder, kind=CLEAN), pick(ladder, kind=kind, level=level), "original")


def ladder_wins(ladder: pd.DataFrame) -> dict[tuple[str, int, str], Effect]:
    """(kind, level, measure) -> chance that the clean text has the better value."""
    pairs = {key: _beside_clean(ladder, *key) for key in product(KINDS, LEVELS)}
    return {
        (*key, measure): chance(_win(both, measure))
        for key, both in pairs.items()
        for measure in BETTER
        if len(both)
    }


def chance(rows: pd.DataFrame) -> Effect:
    """Mean win over documents and seeds, resampled by document; blind is 0.5."""
    return seeded(rows, "win", weights=None, null=AUC_NULL).bounded(0, 1)


def set_areas(labelled: pd.DataFrame) -> dict[tuple[str, str], Effect]:
    """(set, measure) -> chance that the better text has the better value.

    Of sets that come in pairs, inside of pairs; of others, over all pairs of documents (the area
    under the ROC curve), the mean of the seeds' areas, each seed's beside.
    """
    found: dict[tuple[str, str], Effect] = {}
    for name, labels in SETS.items():
        rows = pick(labelled, domain=name)
        if name in PAIRED:
            good, bad = (pick(rows, label=label) for label in labels)
            both = _beside(good.assign(pair=pair_of(good)), bad.assign(pair=pair_of(bad)), "pair")
            found |= {(name, measure): chance(_win(both, measure)) for measure in BETTER if len(both)}
        elif len(rows):
            for measure in BETTER:
                by_seed = rows.groupby("seed")
                seeds = {int(seed): _area(part, measure, labels, 1).value for seed, part in by_seed}
                found[name, measure] = replace(_area(rows, measure, labels), seeds=seeds)
    return found


def pair_of(rows: pd.DataFrame) -> pd.Series:
    """What a pair's two documents share: their ids but for the label at the end."""
    return rows["doc_id"].str.rsplit("/", n=1).str[0]


def _beside(good: pd.DataFrame, bad: pd.DataFrame, shared: str) -> pd.DataFrame:
    """Better texts beside the worse ones that share an id with them, seed by seed, with all measures of both."""
    on = [shared, "seed"]
    return (
        good[[*on, "domain", *BETTER]]
        .merge(bad[[*on, *BETTER]], on=on, suffixes=("", "_worse"), validate="one_to_one")
        .assign(doc_id=lambda both: both[shared])
    )


def _win(both: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Whether the better text has the better value."""
    better = BETTER[measure][1] * (both[measure] - both[f"{measure}_worse"])
    return both[["doc_id", "domain", "seed"]].assign(win=0.5 * (1 + np.sign(better)))


def _area(rows: pd.DataFrame, measure: str, labels: tuple[str, str], resamples: int = RESAMPLES) -> Effect:
    """Area of one measure: how often the first label's text has the better value than the second's."""
    sign = BETTER[measure][1]
    table = rows.pivot_table(index=["label", "doc_id"], columns="seed", values=measure)
    good, bad = (sign * table.loc[label].to_numpy(float) for label in labels)
    return auc_effect(good, bad, resamples=resamples)


def beyond(ladder: pd.DataFrame) -> dict[str, tuple[str, Effect]]:
    """How much more often S is right than the best usual measure, by kind of damage at its worst level.

    A usual measure may point either way; it is read in the one that serves it best, S as the paper reads it.

    Returns:
        kind -> that measure, and its disadvantage in pairs of documents: above 0, S is better.
    """
    found = {}
    for kind in KINDS:
        s, *usual = (against_clean(ladder, kind, LEVELS[-1], measure) for measure in ("s", *CONTROLS))
        if s.empty:
            continue
        read = {
            measure: rows["win"] if rows["win"].mean() >= AUC_NULL else 1 - rows["win"]
            for measure, rows in zip(CONTROLS, usual, strict=True)
        }
        best = max(read, key=lambda measure: float(read[measure].mean()))
        rows = s.assign(difference=s["win"] - read[best])
        found[kind] = best, seeded(rows, "difference", weights=None)
    return found
