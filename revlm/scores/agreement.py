"""Score tables of several models over the same documents: how far they agree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from revlm.cache import write_atomically
from revlm.markup import csv_text, markdown
from revlm.scores.aligned import Join
from revlm.scores.columns import MAX_ROWS, Codes, FloatArray, IntArray, Moments, as_numbers, open_table
from revlm.scores.combine import combine, table_means
from revlm.scores.table import SCORES, SUMMARY, metadata
from revlm.statistics.correlations import as_columns, correlation
from revlm.statistics.effect import Effect

TEST_RETEST, CROSS_SIZE, UNKNOWN = "test-retest", "cross-size", "size unknown"
# Of a summary: what all models have in common.
PAGE = "agreement.md"
SHARED = (
    "data", "corpus_fingerprint", "directions", "window", "begin_token", "min_tokens", "smoothing", "hold",
)  # fmt: skip
COLUMNS = (
    "model_a", "model_b", "kind", "column", "statistic", "r", "low", "high", "n", "pairs", "lowest", "highest",
)  # fmt: skip
NOTES = """\
r over documents that all models scored, square brackets hold 95% intervals over documents, n counts them.
test-retest: models of as many parameters, however they were trained; cross-size: of different sizes. z: s as z-scores
within its domain.
Pearson's r is about values, Spearman's about ranks; the intervals of Pearson's are exact for normal values only."""
OTHER_TOKENS = """\
The models' tokenizers differ: raw s is nats per token of different tokens and does not compare. Read the columns of z."""


@dataclass(frozen=True)
class Agreement:
    """How far two models agree on s, or the mean over all pairs of a kind.

    Attributes:
        column: "s", or "s_z" for z-scores within domains.
        statistic: "pearson" or "spearman".
        found: the correlation over documents; a mean over pairs has no interval, but their lowest and highest.
        pairs: behind it.
    """

    model_a: str
    model_b: str
    kind: str
    column: str
    statistic: str
    found: Effect
    pairs: int = 1
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True)
class PairedScores:
    """s (M, n) of M models over the documents that all of them scored, and its z-scores within domains."""

    models: tuple[str, ...]
    s: FloatArray
    s_z: FloatArray
    dropped: dict[str, int]
    num_documents: int


def paired_scores(tables: Mapping[str, Path], *, limit: int = MAX_ROWS) -> PairedScores:
    """S of all models by document, of about `limit` documents where there are more.

    Raises:
        UserError: the tables hold no document in common, or hold them in different orders.
    """
    join = Join(tables)
    domains = Codes()
    groups, scores = list[IntArray](), list[FloatArray]()
    for batches in join.batches(["domain", "s"], share=limit / join.num_documents):
        groups.append(domains.encode(batches[0]["domain"]))
        scores.append(np.stack([as_numbers(batch["s"]) for batch in batches]))
    group, s = np.concatenate(groups), np.concatenate(scores, axis=1)
    s_z = np.empty_like(s)
    for model, values in enumerate(s):
        moments = Moments()
        moments.add(group, values)
        s_z[model] = moments.zscores(group, values)
    return PairedScores(tuple(tables), s, s_z, join.dropped, join.num_documents)


def model_facts(tables: Mapping[str, Path]) -> tuple[dict[str, int], bool]:
    """What score tables say of their models.

    Returns:
        Parameters by model, those that say so; and whether all read the same tokens, so that raw s
        compares.
    """
    about = {name: metadata(open_table(path, []).schema_arrow) for name, path in tables.items()}
    sizes = {name: int(facts["parameters"]) for name, facts in about.items() if facts.get("parameters")}
    tokenizers = {str(facts.get("tokenizer_fingerprint", "")) for facts in about.values()}
    return sizes, len(tokenizers) == 1


def write_agreement(tables: Mapping[str, Path], folder: Path) -> str:
    """Write agreement.csv and agreement.md of models' score tables into a folder, and return the latter.

    Raises:
        UserError: the tables hold no document in common, or hold them in different orders.
    """
    sizes, comparable = model_facts(tables)
    scores = paired_scores(tables)
    rows = pairwise(scores, sizes)
    page = _page(rows, scores, comparable=comparable)
    written = csv_text(COLUMNS, (vars(row) | as_columns(row.found) for row in rows))
    write_atomically(folder / "agreement.csv", written)
    write_atomically(folder / PAGE, page)
    return page


def gather(folders: Mapping[str, Path], folder: Path) -> str:
    """Several models' finished scoring runs as one in a folder: the combined table, agreement, the summary last.

    What was gathered from these very runs already stays as it is.

    Returns:
        The page on agreement.

    Raises:
        UserError: the runs have no document in common, or hold them in different orders.
    """
    if _gathered(folders, folder / SUMMARY):
        return (folder / PAGE).read_text()
    tables = {name: path / SCORES for name, path in folders.items()}
    summaries = {name: json.loads((path / SUMMARY).read_text()) for name, path in folders.items()}
    first = next(iter(summaries.values()))
    facts = {key: first[key] for key in SHARED if key in first}
    facts["parameters_of"] = {name: summary.get("parameters") for name, summary in summaries.items()}
    counts = combine(tables, folder / SCORES, facts)
    page = write_agreement(tables, folder)
    summary = {"model": ", ".join(tables), "models": list(tables), **facts, **counts}
    write_atomically(folder / SUMMARY, json.dumps(summary | table_means(folder / SCORES), indent=2) + "\n")
    return page


def _gathered(folders: Mapping[str, Path], summary: Path) -> bool:
    """Whether a summary is of these models, and written after theirs."""
    if not summary.exists() or json.loads(summary.read_text()).get("models") != list(folders):
        return False
    written = summary.stat().st_mtime_ns
    return all((path / SUMMARY).stat().st_mtime_ns <= written for path in folders.values())


def pairwise(scores: PairedScores, parameters: Mapping[str, int]) -> list[Agreement]:
    """Correlations of s between all pairs of models, and their means by kind.

    Args:
        scores: of the models.
        parameters: model -> its size: equal sizes are a test and its repetition, others are not.

    Returns:
        Pairs in the order of the models, each with s and s_z, Pearson's and Spearman's; means last.
    """
    rows = []
    for a, b in itertools.combinations(range(len(scores.models)), 2):
        names = scores.models[a], scores.models[b]
        kind = _kind(*(parameters.get(name) for name in names))
        for column, values in (("s", scores.s), ("s_z", scores.s_z)):
            for statistic in ("pearson", "spearman"):
                found = correlation(values[a], values[b], rank=statistic == "spearman")
                rows.append(Agreement(*names, kind, column, statistic, found))
    return rows + _means(rows)


def _kind(one: int | None, other: int | None) -> str:
    if one is None or other is None:
        return UNKNOWN
    return TEST_RETEST if one == other else CROSS_SIZE


def _means(rows: Sequence[Agreement]) -> list[Agreement]:
    """Over the pairs of each kind; models share documents and pairs share models, so without interval."""
    groups: dict[tuple[str, str, str], list[Agreement]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.column, row.statistic), []).append(row)
    means = []
    for key, group in groups.items():
        each = [row.found.value for row in group]
        mean = Effect(float(np.mean(each)), n=group[0].found.n)
        means.append(Agreement("mean", "", *key, mean, len(each), min(each), max(each)))
    return means


def _page(rows: Sequence[Agreement], scores: PairedScores, *, comparable: bool) -> str:
    table: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if not row.model_b and row.pairs == 1:
            continue
        who = f"{row.model_a} and {row.model_b}" if row.model_b else f"mean of {row.pairs} pairs"
        table.setdefault((who, row.kind), []).append(_cell(row))
    header = ["models", "kind", "s, Pearson", "s, Spearman", "z, Pearson", "z, Spearman"]
    read, lost = scores.s.shape[1], {name: count for name, count in scores.dropped.items() if count}
    documents = f"Documents that all models scored: {scores.num_documents:,}."
    if read < scores.num_documents:
        documents += f" {read:,} of them, chosen by a hash of doc_id, are behind these numbers."
    if lost:
        left_out = ", ".join(f"{count:,} of {name}" for name, count in lost.items())
        documents += f" Left out, for another model has no score: {left_out}."
    found = [[*key, *cells] for key, cells in table.items()]
    body = markdown(header, found) if rows else "One model: no pairs."
    about = "" if comparable else OTHER_TOKENS
    parts = ["## Agreement between models", about, body, documents, NOTES]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(row: Agreement) -> str:
    if row.model_b:
        return row.found.text(".3f")
    return f"{row.found.value:.3f} (n={row.found.n:,}, pairs: {row.lowest:.3f} to {row.highest:.3f})"
