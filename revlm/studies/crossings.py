"""When two curves are said to cross: the rules of a verdict over records of crossings, a row a seed and a domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from revlm.errors import UserError
from revlm.measures.crossing import ALL

# More resamples without a crossing than this, and a crossing is not taken for one.
NEVER = 0.05


def crosses(row: Mapping[str, Any]) -> bool:
    """Whether a domain's curves cross for one seed: in almost all resamples, and behind position 0.

    At 0 the reverse curve is at or below the forward one from the start, and nothing crosses.
    """
    return bool(row["share_never"] <= NEVER and row["low"] > 0)


def crosses_nowhere(row: Mapping[str, Any]) -> bool:
    """Whether its curves clearly do not: never in almost all resamples, or from the start in them."""
    return bool(row["share_never"] >= 1 - NEVER or row["high"] == 0)


def domains_of(rows: pd.DataFrame) -> dict[str, str]:
    """Domains and what tables call them: all together first, then each."""
    return {ALL: "all domains"} | {domain: domain for domain in sorted(set(rows["domain"]) - {ALL})}


def rule_of(crossings: pd.DataFrame) -> tuple[int, int]:
    """Smoothing and hold by which crossings were found.

    Raises:
        UserError: they were found by several rules, so that they do not compare.
    """
    said = crossings[["smoothing", "hold"]].astype(int).drop_duplicates()
    rules: list[tuple[int, int]] = sorted(said.itertuples(index=False, name=None))
    if len(rules) > 1:
        raise UserError(
            f"crossings.csv: several rules (smoothing, hold): {', '.join(map(str, rules))}: score all of its sets "
            "with one curves.smoothing and curves.hold."
        )
    return rules[0]
