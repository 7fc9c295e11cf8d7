"""Effects made of a study's rows: means over documents and seeds, shares, and differences of two arms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from revlm.statistics.bootstrap import holm, mean_effect
from revlm.statistics.effect import Effect

Name = TypeVar("Name", bound=Hashable)


def with_s(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with S = forward minus reverse loss: above 0, reverse is easier."""
    return rows.assign(s=rows["nll_forward"] - rows["nll_reverse"])


def with_gap(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with -S, for claims about how far the reverse loss lies above the forward loss."""
    return rows.assign(gap=-with_s(rows)["s"])


def pick(rows: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Rows whose columns have these values."""
    kept = np.logical_and.reduce([rows[name] == value for name, value in wanted.items()])
    return rows[kept]


def paired(rows: pd.DataFrame, one: str, other: str, value: str) -> pd.DataFrame:
    """Rows of one arm beside those of another: same documents, same seeds.

    Args:
        rows: with arm, doc_id, seed, num_tokens.
        one: arm.
        other: arm.
        value: column to subtract.

    Returns:
        doc_id, seed, num_tokens, difference (one - other).
    """
    on = ["doc_id", "seed"]
    first, second = pick(rows, arm=one), pick(rows, arm=other)
    both = first.merge(second[[*on, value]], on=on, suffixes=("", "_other"), validate="one_to_one")
    return both.assign(difference=both[value] - both[f"{value}_other"])


def seeded(
    rows: pd.DataFrame, values: str, *, weights: str | None = "num_tokens", null: float = 0.0
) -> Effect:
    """Mean of a column over documents and seeds, resampled by document.

    Args:
        rows: columns doc_id, seed and the named ones; documents of several sets or languages
            need ids that tell them apart.
        values: column.
        weights: column; None: each document counts alike.
        null: the mean when there is no effect.
    """

    def mean(part: pd.DataFrame) -> float:
        return float(np.average(part[values], weights=part[weights] if weights else None))

    seeds = {int(seed): mean(part) for seed, part in rows.groupby("seed")}
    weight = rows[weights] if weights else None
    return replace(mean_effect(rows[values], rows["doc_id"], weights=weight, null=null), seeds=seeds)


def share_of(rows: pd.DataFrame, part: str, whole: str) -> Effect:
    """Mean of one column over the mean of another, both weighted by tokens, resampled together.

    Args:
        rows: columns doc_id, seed, num_tokens and the two.
        part: what is measured, such as a difference of losses.
        whole: what it is a share of, above 0, such as a loss.
    """
    weighted = rows.assign(share=rows[part] / rows[whole], weight=rows[whole] * rows["num_tokens"])
    return seeded(weighted, "share", weights="weight")


def corrected(family: Mapping[Name, Effect]) -> dict[Name, float]:
    """P-values of a family of comparisons, after Holm."""
    return dict(zip(family, holm([found.p for found in family.values()]), strict=True))
