"""Effects made of a study's rows: means over documents and seeds, shares, and differences of two arms."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from revlm.direction import Direction
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


def by_arm(rows: pd.DataFrame, arms: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Each arm's rows, in the order of the arms given; those without rows are left out."""
    found = {arm: pick(rows, arm=arm) for arm in arms}
    return {arm: part for arm, part in found.items() if len(part)}


def paired(rows: pd.DataFrame, one: str, other: str, value: str) -> pd.DataFrame:
    """Rows of one arm beside those of another, of the same documents and seeds.

    Args:
        rows: with arm, doc_id, seed and the column `value`.
        one: arm whose rows they are.
        other: arm whose value is subtracted.
        value: column.

    Returns:
        The first arm's columns, the other's value as `<value>_other`, and their difference.
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
    seeds = {
        int(seed): float(np.average(part[values], weights=part[weights] if weights else None))
        for seed, part in rows.groupby("seed")
    }
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


def loss_cells(rows: pd.DataFrame) -> list[str]:
    """The cells of a table that say the forward and the reverse loss, in nats per token."""
    return [seeded(rows, f"nll_{direction}").text(".3f") for direction in Direction]


def corrected(family: Mapping[Name, Effect]) -> dict[Name, float]:
    """P-values of a family of comparisons, after Holm."""
    return dict(zip(family, holm([found.p for found in family.values()]), strict=True))


def holm_sides(family: Mapping[Name, Effect]) -> dict[Name, int]:
    """Of a family of comparisons: 1 above the null, -1 below it, 0 where seeds or documents, after Holm, do not tell."""
    return {name: family[name].side(p) for name, p in corrected(family).items()}


def holm_cells(family: Mapping[Name, Effect]) -> dict[Name, list[str]]:
    """The cells of a table that say each comparison of a family, and its p-value after Holm."""
    return {name: [family[name].text(), f"{p:.2g}"] for name, p in corrected(family).items()}
