"""Finished shards to the files of a scoring run: the table, curves by domain and language, the summary."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch

from revlm.cache import write_atomically
from revlm.config import CurvesConfig
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.crossing import ALL, FIRST, domain_label, intersection
from revlm.measures.curve_files import CURVES, INTERSECTION, curves_csv, mean_rows
from revlm.measures.curves import PositionCurve
from revlm.memory import check_fits
from revlm.models.language_model import arm_and_seed
from revlm.scores.columns import IntArray
from revlm.scores.shards import TOKEN_COLUMNS, ShardedScores
from revlm.scores.table import SCHEMA, SCORES, SUMMARY, with_metadata, write_table

TOKENS = "tokens.parquet"
TOKENS_SCHEMA = pa.schema([("doc_id", pa.string()), *TOKEN_COLUMNS])
# Facts that identity.json holds and score tables do not.
IDENTITY_ONLY = ("reverse_model_fingerprint", "precision")
# Sums behind all curves and their resamples.
MAX_CURVE_BYTES = 4_000_000_000
# Documents whose curves are added at once: a dense (documents, positions) array; and tokens, of a long document.
CHUNK_CELLS, CHUNK_TOKENS = 1 << 21, 1 << 19


class Group:
    """Documents of one domain and language.

    Attributes:
        curves: over all windows, and over those that begin their document.
        sums: (3,) documents, tokens, and s over documents, so that each counts alike.
    """

    def __init__(self, num_positions: int, rule: CurvesConfig) -> None:
        shape = num_positions, rule.resamples, rule.seed
        self.curves = {windows: PositionCurve(*shape) for windows in (ALL, FIRST)}
        self.sums = np.zeros(3)

    def add(self, documents: IntArray, rows: pa.RecordBatch) -> None:
        """Add the rows of documents, by their numbers in the corpus."""
        self.sums += len(rows), rows["num_tokens"].to_numpy().sum(), rows["s"].to_numpy().sum()
        step = max(1, CHUNK_CELLS // self.curves[ALL].num_positions)
        for at in range(0, len(documents), step):
            chunk = rows.slice(at, step)
            lengths = chunk["num_tokens"].to_numpy()
            doc = torch.from_numpy(np.repeat(documents[at : at + step], lengths))
            flat = {name: chunk[name].flatten().to_numpy() for name, _ in TOKEN_COLUMNS}
            first = torch.from_numpy(in_first_window(flat["position_forward"], lengths))
            for direction in Direction:
                losses, positions = flat[f"token_nll_{direction}"], flat[f"position_{direction}"]
                for here in _slices(len(losses)):
                    nll, position = torch.tensor(losses[here]), torch.tensor(positions[here])
                    self.curves[ALL].update(nll, position, doc[here], direction.number)
                    begins = first[here]
                    if begins.any():
                        kept = nll[begins], position[begins], doc[here][begins]
                        self.curves[FIRST].update(*kept, direction.number)

    def add_group(self, other: Group) -> None:
        """Add another group's documents."""
        self.sums += other.sums
        for windows, curve in self.curves.items():
            curve.merge_state(other.curves[windows])

    def means(self) -> dict[str, Any]:
        """Losses are means over tokens; s is the mean over documents, each counting alike."""
        forward, reverse = self.curves[ALL].curves().mean().tolist()
        documents, tokens, s = self.sums.tolist()
        return {
            "num_documents": int(documents),
            "num_tokens": int(tokens),
            "nll_forward": forward,
            "nll_reverse": reverse,
            "s": s / documents,
        }


class Groups:
    """Sums of every (domain, language); others follow by adding, and none needs the losses again.

    Raises:
        UserError: too many domains for curves of this many positions and resamples.
    """

    def __init__(self, scores: ShardedScores) -> None:
        check_room(scores)
        self.rule: CurvesConfig = scores.job.config.curves
        self.num_positions = num_positions(scores)
        self.groups: dict[tuple[str, str], Group] = {}

    def add(self, documents: IntArray, batch: pa.RecordBatch) -> None:
        """Add a shard's rows."""
        names = batch.select(["domain", "language"]).to_pandas()
        for name, part in names.groupby(names.columns.tolist(), sort=False):
            if name not in self.groups:
                self.groups[name] = Group(self.num_positions, self.rule)
            rows = part.index.to_numpy()
            chosen = batch if len(rows) == len(batch) else batch.take(pa.array(rows))
            self.groups[name].add(documents[rows], chosen)

    def total(self, wanted: Iterable[tuple[str, str]]) -> Group:
        """Several groups as one."""
        first, *rest = [self.groups[name] for name in wanted]
        result = copy.deepcopy(first)
        for group in rest:
            result.add_group(group)
        return result

    def by(self, index: int) -> dict[str, Group]:
        """Groups by domain (0) or language (1), sorted by name."""
        values = sorted({name[index] for name in self.groups})
        return {value: self.total(name for name in self.groups if name[index] == value) for value in values}


def _slices(size: int) -> Iterator[slice]:
    return (slice(at, at + CHUNK_TOKENS) for at in range(0, size, CHUNK_TOKENS))


def in_first_window(position_forward: npt.NDArray[np.int32], lengths: IntArray) -> npt.NDArray[np.bool_]:
    """(N,) which tokens stand in the window that begins their document.

    Args:
        position_forward: (N,) tokens already read of the window, in text order, document by document.
        lengths: (D,) tokens of each document, each at least 1, N in all.
    """
    windows = np.cumsum(position_forward == 0)
    starts = np.cumsum(lengths) - lengths
    return np.asarray(windows == np.repeat(windows[starts], lengths))


def check_room(scores: ShardedScores) -> None:
    """Refuse curves that would not fit into memory, before anything is scored.

    Raises:
        UserError: too many domains for this many positions and resamples.
    """
    domains = len(scores.opened.corpus.dataset.unique("domain"))
    resamples, positions = scores.job.config.curves.resamples, num_positions(scores)
    # Each domain's own sums, their copy in a total, and the corpus's; of all windows and of first ones.
    size = 2 * 2 * (domains + 1) * 2 * 2 * (resamples + 1) * positions * 8
    if size > MAX_CURVE_BYTES:
        raise UserError(
            f"curves of {domains} domains with {positions} positions and curves.resamples={resamples} need "
            f"{size / 1e9:.1f} GB: lower curves.resamples (0 for no intervals) or window, or name fewer domains."
        )
    check_fits(
        size,
        f"curves of {domains} domains with {positions} positions and curves.resamples={resamples}",
        "lower curves.resamples (0 for no intervals) or window, or name fewer domains",
    )


def num_positions(scores: ShardedScores) -> int:
    """Positions of the curves: the window, or the longest document where that is shorter."""
    return min(scores.opened.scorer.layout.window, int(scores.opened.lengths.max()))


def merge(scores: ShardedScores, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the run's files out of its finished shards, the summary last, and remove the shards.

    The table holds nothing but what follows from model, corpus and options, so equal runs leave
    equal bytes, in however many sittings.

    The summary, which is returned, holds the facts as well: seconds, versions and the like.
    """
    folder, groups = scores.job.folder, Groups(scores)
    about = _about(scores)

    def rows() -> Iterator[pa.RecordBatch]:
        for documents, batch in scores.batches():
            groups.add(documents, batch)
            yield batch.select(SCHEMA.names)

    write_table(folder / SCORES, rows(), with_metadata(SCHEMA, about))
    if scores.job.config.tokens:
        losses = (batch.select(TOKENS_SCHEMA.names) for _, batch in scores.batches())
        write_table(folder / TOKENS, losses, with_metadata(TOKENS_SCHEMA, about))
    summary = about | arm_and_seed(scores.opened.scorer.models)
    summary |= _write_curves(folder, groups) | scores.opened.left_out() | facts
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    shutil.rmtree(scores.folder, ignore_errors=True)
    return summary


def _about(scores: ShardedScores) -> dict[str, Any]:
    """What the numbers follow from."""
    config = scores.job.config
    facts = {name: value for name, value in scores.opened.facts.items() if name not in IDENTITY_ONLY}
    rule = {"smoothing": config.curves.smoothing, "hold": config.curves.hold}
    return facts | {"min_tokens": config.min_tokens} | rule


def _write_curves(folder: Path, groups: Groups) -> dict[str, Any]:
    """Curves and crossings of everything, of each domain and of each language; their means."""
    everything = {ALL: groups.total(groups.groups)}
    domains = {domain_label(name): group for name, group in groups.by(0).items()}
    languages = groups.by(1)

    def crossings(groups_by_name: dict[str, Group], windows: str = ALL) -> dict[str, Any]:
        return {
            name: intersection(group.curves[windows].curves(), groups.rule, int(group.sums[0]))
            for name, group in groups_by_name.items()
        }

    found = {
        **crossings(everything),
        "domain": crossings(domains),
        "language": crossings(languages),
        FIRST: {**crossings(everything, FIRST), "domain": crossings(domains, FIRST)},
    }
    write_atomically(folder / INTERSECTION, json.dumps(found, indent=2) + "\n")
    for windows, name in CURVES.items():
        write_atomically(folder / name, _curves_csv("domain", everything | domains, windows))
    write_atomically(folder / "curves_language.csv", _curves_csv("language", languages))
    return {
        **everything[ALL].means(),
        "by_domain": {name: group.means() for name, group in domains.items()},
        "by_language": {name: group.means() for name, group in languages.items()},
    }


def _curves_csv(column: str, groups: dict[str, Group], windows: str = ALL) -> str:
    tables = {name: mean_rows(group.curves[windows].curves()) for name, group in groups.items()}
    return curves_csv(pd.concat(tables, names=[column]).reset_index(level=0))
