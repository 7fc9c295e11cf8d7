"""What a study of one claim of the paper is: records in, tables, pictures and findings out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from revlm.statistics.bootstrap import LEVEL, Effect, mean_effect
from revlm.studies.records import Records

# A corrected p-value below it counts.
ALPHA = 0.05
FEWEST_SEEDS = 3
LANGUAGES = {"en": "English", "de": "German", "es": "Spanish", "zh": "Chinese", "ja": "Japanese", "ar": "Arabic",
             "nl": "Dutch"}  # fmt: skip


class Verdict(StrEnum):
    """What measurement says of a claim."""

    REPRODUCED = "reproduced"
    NOT = "not reproduced"
    UNCLEAR = "unclear"


OURS = {Verdict.REPRODUCED: "holds", Verdict.NOT: "does not hold", Verdict.UNCLEAR: "unclear"}


@dataclass(frozen=True)
class Finding:
    """One claim and what came out.

    Attributes:
        claim: in the paper's sense, in our words.
        place: where it stands, "section ..." in the paper; "ours" for a question that it does not ask.
        verdict: by the rule that the study's README states.
        measured: one sentence with the numbers.
    """

    claim: str
    place: str
    verdict: Verdict
    measured: str

    @property
    def of_the_paper(self) -> bool:
        """Whether the paper makes this claim; else we ask it."""
        return self.place.startswith("section")

    @property
    def outcome(self) -> str:
        """The verdict in words: a claim of the paper is reproduced or not, one of ours holds or does not."""
        return str(self.verdict) if self.of_the_paper else OURS[self.verdict]


@dataclass(frozen=True)
class Results:
    """Everything that a study shows, made from its records alone.

    Attributes:
        findings: claim by claim, the headline first.
        tables: file stem -> Markdown, with what its cells mean.
        figures: file stem -> picture and, for those who cannot see it, what it shows.
    """

    findings: Sequence[Finding]
    tables: Mapping[str, str]
    figures: Mapping[str, tuple[Figure, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A folder below experiments/.

    Attributes:
        name: of the folder.
        title: the question.
        render: records to results.
        needs: records without which there is nothing to show.
    """

    name: str
    title: str
    render: Callable[[Records], Results]
    needs: Sequence[str]


@dataclass(frozen=True)
class Seeded:
    """An effect over documents, and what each seed says by itself."""

    effect: Effect
    by_seed: Mapping[int, float]
    # The value when there is no effect.
    null: float = 0.0

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.by_seed)

    @property
    def holds(self) -> bool:
        """Whether seeds say so too: the t-interval of their mean lies on one side of the null.

        Fewer than three seeds never do.
        """
        values = np.array(list(self.by_seed.values())) - self.null
        if len(values) < FEWEST_SEEDS:
            return False
        half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values)
        return bool(abs(values.mean()) > half)

    def side(self, p: float | None = None) -> int:
        """1 above the null, -1 below it, 0 where documents or seeds do not tell.

        Args:
            p: corrected p-value; None: the effect's own.
        """
        told = (self.effect.p if p is None else p) < ALPHA and self.holds
        return int(np.sign(self.effect.value - self.null)) if told else 0


NOTES = (
    "Cells: value [95% interval over documents] (n documents, s seeds: lowest to highest of them). What intervals and seeds "
    "speak of: docs/numbers.md, Studies."
)


def seeded(rows: pd.DataFrame, values: str, *, weights: str | None = "num_tokens") -> Seeded:
    """Mean of a column over documents and seeds, resampled by document.

    Args:
        rows: columns doc_id, seed and the named ones; documents of several sets or languages
            need ids that tell them apart.
        values: column.
        weights: column; None: each document counts alike.
    """

    def mean(part: pd.DataFrame) -> float:
        return float(np.average(part[values], weights=part[weights] if weights else None))

    effect = mean_effect(rows[values], rows["doc_id"], weights=rows[weights] if weights else None)
    return Seeded(effect, {int(seed): mean(part) for seed, part in rows.groupby("seed")})


def share_of(rows: pd.DataFrame, part: str, whole: str) -> Seeded:
    """Mean of one column over the mean of another, both weighted by tokens, resampled together.

    Args:
        rows: columns doc_id, seed, num_tokens and the two.
        part: what is measured, such as a difference of losses.
        whole: what it is a share of, above 0, such as a loss.
    """
    weighted = rows.assign(share=rows[part] / rows[whole], weight=rows[whole] * rows["num_tokens"])
    return seeded(weighted, "share", weights="weight")


def cell(found: Seeded, form: str = "+.3f") -> str:
    """An effect with its interval, documents and seeds, in one cell of a table."""
    effect = found.effect
    n = f"n={effect.n:,}"
    if effect.low is None or effect.high is None:
        return f"{effect.value:{form}} (no interval, {n})"
    values = list(found.by_seed.values())
    spread = f": {min(values):{form}} to {max(values):{form}}" if len(values) > 1 else ""
    return f"{effect.value:{form}} [{effect.low:{form}}, {effect.high:{form}}] ({n}, s={found.seeds}{spread})"


def said(found: Seeded, form: str = "+.3f") -> str:
    """An effect with its interval, documents and seeds, in a sentence."""
    counted = f"{found.seeds} seed{'s' if found.seeds > 1 else ''}"
    values = list(found.by_seed.values())
    spread = f" from {min(values):{form}} to {max(values):{form}}" if len(values) > 1 else ""
    return f"{short(found.effect, form)} (n={found.effect.n:,}, {counted}{spread})"


def short(effect: Effect, form: str = "+.3f") -> str:
    """An effect with its interval, in a sentence."""
    if effect.low is None or effect.high is None:
        return f"{effect.value:{form}}"
    return f"{effect.value:{form}} [{effect.low:{form}}, {effect.high:{form}}]"


def paired(rows: pd.DataFrame, one: Mapping[str, Any], other: Mapping[str, Any], value: str) -> pd.DataFrame:
    """Rows of one arm beside those of another: same documents, same seeds.

    Args:
        rows: with doc_id, seed, num_tokens.
        one: column -> value that picks the first arm.
        other: the same for the second.
        value: column to subtract.

    Returns:
        doc_id, seed, num_tokens, difference (one - other).
    """
    on = ["doc_id", "seed"]
    first, second = pick(rows, **one), pick(rows, **other)
    both = first.merge(second[[*on, value]], on=on, suffixes=("", "_other"), validate="one_to_one")
    return both.assign(difference=both[value] - both[f"{value}_other"])


def pick(rows: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Rows whose columns have these values."""
    kept = np.logical_and.reduce([rows[name] == value for name, value in wanted.items()])
    return rows[kept]


def within(found: Seeded, margin: float) -> Verdict:
    """Whether an effect is none, give or take a margin.

    Reproduced: the interval and every one of three seeds or more lie inside. Not: both lie outside,
    on one side. Else unclear.
    """
    low, high, seeds = found.effect.low, found.effect.high, found.by_seed.values()
    if low is None or high is None or len(seeds) < FEWEST_SEEDS:
        return Verdict.UNCLEAR
    if -margin < low and high < margin and all(abs(value) < margin for value in seeds):
        return Verdict.REPRODUCED
    above, below = min(low, *seeds) > margin, max(high, *seeds) < -margin
    return Verdict.NOT if above or below else Verdict.UNCLEAR


def costs_little(found: Seeded, margin: float) -> Verdict:
    """Whether less than a margin is lost, above 0 being a loss; gaining is no cost.

    Interval and every one of three seeds or more must say so.
    """
    low, high, seeds = found.effect.low, found.effect.high, list(found.by_seed.values())
    if low is None or high is None or len(seeds) < FEWEST_SEEDS:
        return Verdict.UNCLEAR
    if max(high, *seeds) < margin:
        return Verdict.REPRODUCED
    return Verdict.NOT if min(low, *seeds) > margin else Verdict.UNCLEAR


def judged(side: int) -> Verdict:
    """Of a claim that an effect lies above its null: 1 it does, -1 below, 0 not told."""
    return {1: Verdict.REPRODUCED, -1: Verdict.NOT}.get(side, Verdict.UNCLEAR)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several: reproduced only if all are, not reproduced if any is not."""
    if any(verdict is Verdict.NOT for verdict in verdicts):
        return Verdict.NOT
    return Verdict.UNCLEAR if any(verdict is Verdict.UNCLEAR for verdict in verdicts) else Verdict.REPRODUCED
