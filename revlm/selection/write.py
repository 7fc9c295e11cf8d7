"""What a selection leaves: the documents, what the choice was, and a few lines for the terminal."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from revlm.config import SelectConfig
from revlm.data.files import COLUMNS
from revlm.data.reading import told
from revlm.scores.table import parquet_writer, with_metadata
from revlm.selection.candidates import Candidates, Mask
from revlm.selection.choice import domain_budgets
from revlm.selection.rules import column_of
from revlm.selection.scored_corpus import ScoredCorpus, documents

# The metadata names the columns, so that data=files needs no options to read ids and domains.
SCHEMA = with_metadata(
    pa.schema(
        [
            ("doc_id", pa.string()),
            ("text", pa.string()),
            ("domain", pa.string()),
            ("s", pa.float64()),
            ("num_tokens", pa.int64()),
        ]
    ),
    {COLUMNS: {"id": "doc_id", "domain": "domain"}},
)
_ROW_GROUP_BYTES = 16_000_000
_PACKAGES = ("revlm", "datasets", "pyarrow", "numpy", "scipy", "data-selection")


def write_documents(path: Path, scored: ScoredCorpus, chosen: Mask) -> None:
    """selection.parquet: chosen documents in the order of the corpus, whole or not at all.

    Texts pass through in row groups of some 16 MB and are never all in memory.

    Args:
        path: of the file.
        scored: N scored documents and their texts.
        chosen: (N,) which to write.
    """
    with parquet_writer(path, SCHEMA) as writer:
        for table in _row_groups(_tables(scored, chosen)):
            writer.write_table(table)


def record(
    config: SelectConfig, scored: ScoredCorpus, chosen: Mask, target: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What selection.json says: the choice, and what it took of what there was.

    Args:
        config: the options.
        scored: N scored documents; "all" counts these.
        chosen: (N,) which were taken.
        target: dsir: what was resembled.
    """
    tables, candidates, rule = scored.tables, scored.candidates, config.rule.name
    everything = np.ones(len(candidates), dtype=np.bool_)
    selected, whole = _totals(candidates, chosen), _totals(candidates, everything)
    distinct = [facts for row, facts in enumerate(tables.facts) if facts not in tables.facts[:row]]
    return {
        "rule": rule.value,
        "column": column_of(rule, config.column),
        "budget_tokens": config.budget_tokens,
        "num_tokens": selected["num_tokens"],
        "num_documents": selected["num_documents"],
        "short_by": config.budget_tokens - selected["num_tokens"],
        **{name: getattr(config, name) for name in ("seed", "by_domain", "zscore", "temperature")},
        "share_of_documents": selected["num_documents"] / whole["num_documents"],
        "share_of_tokens": selected["num_tokens"] / whole["num_tokens"],
        "selected": selected,
        "all": whole,
        "domains": _domains(config, candidates, chosen),
        "target": target,
        "corpus_fingerprint": scored.corpus.fingerprint,
        "read": scored.corpus.read,
        "scores": {
            "tables": [str(path) for path in tables.paths],
            "left_out": [str(path) for path in tables.damaged],
            "metadata": distinct,
        },
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def summary(facts: Mapping[str, Any]) -> str:
    """The choice beside what there was, for the terminal."""
    by = f" by {facts['column']}" if facts["column"] else ""
    for option in ("by_domain", "zscore", "temperature"):
        by += f", {option}={facts[option]}" if facts[option] else ""
    title = (
        f"{facts['rule']}{by}, seed {facts['seed']}: {facts['num_tokens']:,} of "
        f"{facts['all']['num_tokens']:,} tokens ({facts['share_of_tokens']:.1%})"
    )
    sides = facts["selected"], facts["all"]
    rows = {name: [f"{side[f'num_{name}']:,}" for side in sides] for name in ("documents", "tokens")}
    for name, sign in (("mean_s", "+"), ("mean_nll_forward", ""), ("mean_nll_reverse", "")):
        rows[name.replace("_", " ")] = [_number(side[name], sign) for side in sides]
    rows["share of tokens"] = ["", ""]
    for name, domain in facts["domains"].items():
        tokens = zip((domain["num_tokens"], domain["num_tokens_all"]), sides, strict=True)
        rows[f"  {name}"] = [f"{count / max(1, side['num_tokens']):.1%}" for count, side in tokens]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["selected", "all scored"])
    return "\n".join([title, "", table.to_string(col_space=12), *_shortfalls(facts), *told(facts["read"])])


def _shortfalls(facts: Mapping[str, Any]) -> list[str]:
    if facts["short_by"] <= 0 or facts["share_of_documents"] == 1:
        return []
    lines = ["", f"short of the budget by {facts['short_by']:,}: no whole documents fill the rest exactly."]
    for name, domain in facts["domains"].items():
        if domain.get("short_by"):
            lines.append(f"  {name}: {domain['short_by']:,} of {domain['budget_tokens']:,}")
    return lines


def _number(value: float | None, sign: str) -> str:
    return "-" if value is None else f"{value:{sign}.4f}"


def _totals(candidates: Candidates, chosen: Mask) -> dict[str, Any]:
    """Counts, and means over documents (those that have the number)."""
    s, forward = candidates.s[chosen], candidates.nll_forward[chosen]
    means = {"mean_s": s, "mean_nll_forward": forward, "mean_nll_reverse": forward - s}
    return {
        "num_documents": int(chosen.sum()),
        "num_tokens": int(candidates.num_tokens[chosen].sum()),
        **{name: _mean(values) for name, values in means.items()},
    }


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _domains(config: SelectConfig, candidates: Candidates, chosen: Mask) -> dict[str, dict[str, int]]:
    size = len(candidates.names)
    counts = {
        "num_documents": np.bincount(candidates.domains[chosen], minlength=size),
        "num_tokens": candidates.tokens_by_domain(chosen),
        "num_documents_all": np.bincount(candidates.domains, minlength=size),
        "num_tokens_all": candidates.tokens_by_domain(),
    }
    if config.by_domain:
        counts["budget_tokens"] = np.array(domain_budgets(candidates, config.budget_tokens))
        counts["short_by"] = counts["budget_tokens"] - counts["num_tokens"]
    return {
        name: {key: int(column[code]) for key, column in counts.items()}
        for code, name in enumerate(candidates.names)
    }


def _tables(scored: ScoredCorpus, chosen: Mask) -> Iterator[pa.Table]:
    candidates, wanted = scored.candidates, scored.wanted(chosen)
    places, start = scored.rows[wanted], 0
    for table in documents(scored.corpus, wanted, ["doc_id", "text", "domain"], "writing documents"):
        here = places[start : start + len(table)]
        start += len(table)
        # NaN, the mark of a table without s, becomes null.
        s = pa.array(candidates.s[here], from_pandas=True)
        columns = [table["doc_id"], table["text"], table["domain"], s, pa.array(candidates.num_tokens[here])]
        yield pa.table(columns, schema=SCHEMA)


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(held.nbytes for held in waiting) >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
