"""An effect with its interval and what it rests on: one class and one way to write it, for all tables and pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]
LEVEL = 0.95
# A corrected p-value below it counts.
ALPHA = 0.05
# Fewer never show that an effect holds over seeds.
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Effect:
    """An effect, its 95% interval, and what it rests on.

    Attributes:
        value: of the sample; nan where it is not defined.
        low: of the interval; None where there is none, such as for one document or one seed.
        high: of the interval.
        n: what the interval counts: documents, questions, pairs or seeds.
        seeds: seed -> what it says by itself; empty where seeds are not told apart.
        p: two-sided, of no effect; nan where nothing was tested.
        null: the value when there is no effect.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    seeds: Mapping[int, float] = field(default_factory=dict)
    p: float = math.nan
    null: float = 0.0

    def text(self, form: str = "+.3f", *, counts: Literal["cell", "sentence", "none"] = "cell") -> str:
        """The effect for a table or a sentence.

        Args:
            form: of each number.
            counts: what it rests on, behind it: in a cell `+0.03 [+0.01, +0.05] (n=887, s=5: +0.02 to +0.04)`,
                in a sentence `... (n=887, 5 seeds from +0.02 to +0.04)`, or nothing.
        """
        if math.isnan(self.value):
            return f"not defined (n={self.n:,})"
        written = f"{self.value:{form}}"
        if self.low is not None and self.high is not None:
            written += f" [{self.low:{form}}, {self.high:{form}}]"
        elif counts == "cell":
            return f"{written} (no interval, n={self.n:,})"
        return written if counts == "none" else f"{written} ({self._counted(form, counts)})"

    def _counted(self, form: str, counts: str) -> str:
        number, values = len(self.seeds), self.seeds.values()
        spread = f"{min(values):{form}} to {max(values):{form}}" if number > 1 else ""
        if counts == "sentence":
            seeds = f"{number} seed{'s' if number > 1 else ''}" + (f" from {spread}" if spread else "")
        else:
            seeds = f"s={number}" + (f": {spread}" if spread else "")
        return f"n={self.n:,}" + (f", {seeds}" if number else "")

    @property
    def holds(self) -> bool:
        """Whether seeds say so too: the t-interval of their mean lies on one side of the null.

        Fewer than three seeds never do.
        """
        return len(self.seeds) >= FEWEST_SEEDS and replace(seed_mean(self.seeds), null=self.null).apart != 0

    @property
    def apart(self) -> int:
        """1 when the whole interval lies above the null, -1 when below, 0 when it holds the null or there is none."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > self.null) - int(self.high < self.null)

    def bounded(self, low: float, high: float) -> Effect:
        """The effect with its interval cut to the values that are possible."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(low, self.low), high=min(high, self.high))

    def side(self, p: float | None = None) -> int:
        """1 above the null, -1 below it, 0 where documents or seeds do not tell.

        Args:
            p: corrected p-value; None: the effect's own.
        """
        told = (self.p if p is None else p) < ALPHA and self.holds
        return int(np.sign(self.value - self.null)) if told else 0


def t_interval(mean: float, std: float, n: int) -> Effect:
    """A mean of n independent values with Student's interval at 95%; none for fewer than two.

    Args:
        mean: of the values.
        std: their sample standard deviation.
        n: how many.
    """
    if n < 2:  # noqa: PLR2004 -- one value spreads by nothing
        return Effect(mean, n=n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * std / math.sqrt(n)
    return Effect(mean, mean - half, mean + half, n)


def seed_mean(by_seed: Mapping[int, float]) -> Effect:
    """Mean over seeds with its t-interval; n counts seeds.

    Args:
        by_seed: seed -> value, at least one.
    """
    values = np.array(list(by_seed.values()), dtype=np.float64)
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return t_interval(float(values.mean()), std, len(values))
