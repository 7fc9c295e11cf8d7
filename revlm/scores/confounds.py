"""What S goes along with although it need not be about reading order: length, difficulty, repetition, domain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from revlm.cache import write_atomically
from revlm.markup import csv_text, markdown
from revlm.scores.columns import MAX_ROWS, Columns, FloatArray, IntArray, read_columns
from revlm.scores.table import SCORES
from revlm.statistics import correlations
from revlm.statistics.effect import Effect

S = "s"
READ = (S, "num_tokens", "num_bytes", "nll_forward", "nll_reverse", "compression_ratio")
CATEGORIES = ("domain", "language")
TITLES = {
    "log_num_tokens": "log of number of tokens",
    "nll_forward": "forward loss, nats per token",
    "nll_mean": "mean of both losses, nats per token",
    "compression_ratio": "compression ratio",
    "bytes_per_token": "bytes per token",
    "domain": "domain",
    "language": "language",
}
# Both say how hard a text is; neither is held fixed for the other. Only the first is for the rest.
DIFFICULTY = ("nll_forward", "nll_mean")
COLUMNS = ("confound", "measure", "kind", "r", "low", "high", "n", "num_documents")
NOTES = """\
Numbers: Spearman's r with S. Domain and language: share of the variance of S's ranks that they explain (epsilon
squared, which chance leaves at 0). Square brackets hold 95% intervals over documents, n counts documents; they are not
corrected for the number of rows.
Given the others: what is left with all other rows held fixed, domain and language as categories. Neither of the two
losses is held fixed for the other.
Compression ratio: compressed over plain bytes, low where text repeats itself.
Within domains: correlations inside each domain, averaged by documents.
S contains the forward loss, so the two go together by arithmetic alone. Their mean with the reverse loss does so only
as far as one direction's losses spread more than the other's (Bland & Altman 1986)."""


@dataclass(frozen=True)
class Confound:
    """How far S goes along with one column.

    Attributes:
        name: of the column.
        category: whether r is a share of variance rather than a rank correlation.
        plain: with nothing held fixed.
        partial: given all other confounds.
        within_domain: inside domains; None for the domain itself.
    """

    name: str
    category: bool
    plain: Effect
    partial: Effect
    within_domain: Effect | None

    @property
    def kinds(self) -> dict[str, Effect]:
        """The correlations that there are, by name."""
        found = {"plain": self.plain, "partial": self.partial}
        return found if self.within_domain is None else found | {"within_domain": self.within_domain}


def read_confounds(scores: Path, *, limit: int = MAX_ROWS) -> Columns:
    """S and its confounds by document, rows without a finite value in each of them left out.

    Args:
        scores: a score table.
        limit: about as many documents are read of a longer one, chosen by a hash of doc_id.

    Raises:
        UserError: no score table, or it lacks a column.
    """
    read = read_columns(scores, READ, CATEGORIES, limit=limit)
    column = read.numbers
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers: dict[str, FloatArray] = {
            S: column[S],
            "log_num_tokens": np.log(column["num_tokens"]),
            "nll_forward": column["nll_forward"],
            "nll_mean": (column["nll_forward"] + column["nll_reverse"]) / 2,
            "compression_ratio": column["compression_ratio"],
            "bytes_per_token": column["num_bytes"] / column["num_tokens"],
        }
    kept = np.logical_and.reduce([np.isfinite(values) for values in numbers.values()])
    return replace(
        read,
        numbers={name: values[kept] for name, values in numbers.items()},
        categories={name: values[kept] for name, values in read.categories.items()},
    )


def confound_panel(columns: Columns) -> list[Confound]:
    """Every confound, plain and given all the others, of what `read_confounds` returns."""
    s, domain = columns.numbers[S], columns.categories["domain"]
    rows = []
    for name, values in columns.numbers.items():
        if name != S:
            given = _given(columns, name), list(columns.categories.values())
            plain = correlations.correlation(values, s)
            partial = correlations.partial_correlation(values, s, *given)
            within = correlations.pooled_correlation(values, s, domain)
            rows.append(Confound(name, category=False, plain=plain, partial=partial, within_domain=within))
    for name, codes in columns.categories.items():
        others: list[IntArray] = [other for key, other in columns.categories.items() if key != name]
        plain = correlations.explained_by(codes, s)
        partial = correlations.explained_by(codes, s, _given(columns, name), others)
        inside = None if name == "domain" else correlations.explained_by(codes, s, categories=[domain])
        rows.append(Confound(name, category=True, plain=plain, partial=partial, within_domain=inside))
    return rows


def write_confounds(folder: Path, *, limit: int = MAX_ROWS) -> list[Confound]:
    """Write confounds.csv, one row a number, and confounds.md into a scoring run's folder; see `read_confounds`."""
    columns = read_confounds(folder / SCORES, limit=limit)
    rows = confound_panel(columns)
    flat = [
        {
            "confound": row.name,
            "measure": "epsilon_squared" if row.category else "spearman",
            "kind": kind,
            **correlations.as_columns(found),
            "num_documents": columns.num_rows,
        }
        for row in rows
        for kind, found in row.kinds.items()
    ]
    write_atomically(folder / "confounds.csv", csv_text(COLUMNS, flat))
    write_atomically(folder / "confounds.md", _page(rows, columns))
    return rows


def _page(rows: list[Confound], columns: Columns) -> str:
    header = ["S and", "plain", "given the others", "within domains"]
    table = [
        [TITLES[row.name], *(_cell(row, found) for found in (row.plain, row.partial, row.within_domain))]
        for row in rows
    ]
    return "\n\n".join(["## What S goes along with", behind(columns), markdown(header, table), NOTES]) + "\n"


def behind(columns: Columns) -> str:
    """Which documents the numbers rest on."""
    if len(columns) == columns.num_rows:
        return f"All {columns.num_rows:,} documents."
    return (
        f"{len(columns):,} of {columns.num_rows:,} documents: those with all values finite and, of more than "
        f"{MAX_ROWS:,}, a subset chosen by a hash of doc_id."
    )


def _given(columns: Columns, name: str) -> list[FloatArray]:
    """The numbers to hold fixed for a confound."""
    left_out = {S, name, *(DIFFICULTY if name in DIFFICULTY else DIFFICULTY[1:])}
    return [values for key, values in columns.numbers.items() if key not in left_out]


def _cell(row: Confound, found: Effect | None) -> str:
    if found is None:
        return ""
    if math.isnan(found.value) and row.category:
        return f"not defined: one {row.name}, or settled by the others (n={found.n:,})"
    return found.text(".3f" if row.category else "+.3f")
