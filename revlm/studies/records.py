"""The compact raw records of a study: what its tables and pictures are made from, small enough to commit.

    runs of training        runs.csv         a row a run: budget, final losses, time, commit
                            validations.csv  losses by direction over training
    runs of scoring         documents.parquet  both losses and more, of each document under each model
                            curves.parquet   losses by position
                            crossings.csv    where the curves cross, with intervals
                            (both over all windows and over those that begin their document)
    of contexts             contexts.parquet  the same tokens' losses given their left and their right
    of evaluation           answers.parquet  each question, right or wrong

Every run says itself which arm and seed it is of; where its folder lies tells nothing. Numbers keep six decimals,
which is more than float32 losses carry; equal runs leave equal bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from revlm import keys
from revlm.cache import write_atomically
from revlm.errors import UserError
from revlm.measures.crossing import ALL, FIRST
from revlm.measures.curve_files import CURVES, INTERSECTION
from revlm.pages.evaluations import find_evaluations, read_evaluation
from revlm.pages.runs.run import Run, read_run
from revlm.records.folder import SUMMARY
from revlm.scores.table import CONTEXTS, CONTEXTS_SUMMARY, MODELS, SCORES
from revlm.scores.table import SUMMARY as SCORE_SUMMARY

DECIMALS = 6
DOCUMENTS = "documents.parquet"
DOCUMENT_COLUMNS = (
    "doc_id", "domain", "language", "label", "num_tokens", "num_bytes", "nll_forward", "nll_reverse",
    "intersection", "compression_ratio", "type_token_ratio", "repeated_ngrams",
)  # fmt: skip
RUN_COLUMNS = (
    "module", "language", "tokens", "parameters", "window", "nll_forward", "nll_reverse", "start_nll_forward",
    "start_nll_reverse", "seconds", "tokens_per_second", "num_train_documents", "corpus_fingerprint", "commit",
)  # fmt: skip
VALIDATION_COLUMNS = {
    "tokens": keys.TOKENS,
    "nll_forward": keys.VAL_NLL_FORWARD,
    "nll_reverse": keys.VAL_NLL_REVERSE,
}
CROSSING_COLUMNS = (
    "position", "low", "high", "share_never", "num_documents", "smoothing", "hold", "resamples", "window",
)  # fmt: skip


@dataclass(frozen=True)
class Records:
    """The records in a folder, which need not hold all of them, each read when it is asked for."""

    folder: Path

    def __contains__(self, name: str) -> bool:
        """Whether a record is there."""
        return (self.folder / name).is_file()

    def __getitem__(self, name: str) -> pd.DataFrame:
        """A record as a table; that of documents has s = nll_forward - nll_reverse as well.

        Raises:
            UserError: it is missing or damaged.
        """
        path = self.folder / name
        if not path.is_file():
            raise UserError(
                f"{path}: there is no such record: run the study's run.sh, or python -m revlm.collect."
            )
        try:
            rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        except (ValueError, OSError, pa.ArrowException) as error:
            raise UserError(
                f"{path}: damaged ({error}): collect it again with python -m revlm.collect."
            ) from error
        return rows.assign(s=rows["nll_forward"] - rows["nll_reverse"]) if name == DOCUMENTS else rows


def collect(source: Path, out: Path, keep: Sequence[str] | None = None) -> list[Path]:
    """Write the records of all finished runs below a folder.

    Args:
        source: searched at any depth. Scoring runs, of one model or several, stand in `<set>`.
        out: the folder of the records.
        keep: names of records; None: all that there is something for.

    Returns:
        The files written.

    Raises:
        UserError: no finished run there, a damaged one, or an unknown record.
    """
    for name in keep or ():
        if name not in COLLECTORS:
            raise UserError(f"keep=[{name}]: there is no such record: choose from {', '.join(COLLECTORS)}.")
    written = []
    for name in keep or COLLECTORS:
        rows = COLLECTORS[name](source)
        if len(rows):
            write_record(rows, out / name)
            written.append(out / name)
    if not written:
        raise UserError(f"{source}: no finished run there: run the study's run.sh first.")
    return written


def write_record(rows: pd.DataFrame, path: Path) -> None:
    """Write one record, whole or not at all."""
    rows = rows.round(DECIMALS)
    if path.suffix == ".csv":
        write_atomically(path, rows.to_csv(index=False, lineterminator="\n"))
        return
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd", compression_level=19)
    write_atomically(path, out.getvalue())


def recorded_arm_and_seed(said: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The arm and the seed that a run says of its model.

    Runs from before 0.2 say a name alone: `A_0` is seed 0 of the arm A, and a pair, `A_0+B_0`, seed 0 of `A+B`.
    Arms are in lower case: the 1 of a `SmolLM2-135M-Instruct.Q4_1` is no seed, and other models are seed 0.

    Args:
        said: of a file with facts.
        prefix: of the names of arm and seed there.
    """
    if f"{prefix}arm" in said:
        return {label: said[f"{prefix}{label}"] for label in ("arm", "seed")}
    name = str(said["model"])
    parts = [part.rpartition("_") for part in name.split("+")]
    ours = all(a.isidentifier() and a.islower() and number.isdecimal() for a, _, number in parts)
    if not ours or len({number for *_, number in parts}) > 1:
        return {"arm": name, "seed": 0}
    return {"arm": "+".join(a for a, *_ in parts), "seed": int(parts[0][-1])}


def _training(source: Path) -> Iterator[tuple[dict[str, Any], Run]]:
    for path in sorted(source.rglob(SUMMARY)):
        run = read_run(path.parent)
        seed = run.config["seed"]
        # Before 0.2 options named no arm: studies trained into <arm>/<seed>.
        in_study = run.folder.name == str(seed)
        old = run.folder.parent.name if in_study else f"{run.config['name']}_{run.summary['language']}"
        yield {"arm": run.config.get("arm", old), "seed": seed}, run


def _runs(source: Path) -> pd.DataFrame:
    rows = [
        labels | {column: run.summary.get(column) for column in RUN_COLUMNS}
        for labels, run in _training(source)
    ]
    return pd.DataFrame(rows)


def _validations(source: Path) -> pd.DataFrame:
    rows = [
        labels | {column: row[key] for column, key in VALIDATION_COLUMNS.items()}
        for labels, run in _training(source)
        for row in run.validations
    ]
    return pd.DataFrame(rows)


def _scoring(source: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Each model's scoring run with the name of its set: the folder above `models`, or its own."""
    for path in sorted(source.rglob(SCORES)):
        folder = path.parent
        if (folder / MODELS).is_dir():
            continue
        summary = json.loads((folder / SCORE_SUMMARY).read_text(encoding="utf-8"))
        several = folder.parent.name == MODELS
        name = folder.parent.parent.name if several else folder.name
        yield {"set": name, **recorded_arm_and_seed(summary)}, folder


def _together(tables: Iterable[tuple[dict[str, Any], pd.DataFrame]]) -> pd.DataFrame:
    """One table of several, each behind the labels of its run."""
    labelled = [rows.assign(**labels)[[*labels, *rows.columns]] for labels, rows in tables]
    return pd.concat(labelled, ignore_index=True) if labelled else pd.DataFrame()


def _documents(source: Path) -> pd.DataFrame:
    return _together(
        (labels, pd.read_parquet(folder / SCORES, columns=list(DOCUMENT_COLUMNS)))
        for labels, folder in _scoring(source)
    )


def _curves(source: Path) -> pd.DataFrame:
    return _together(
        (labels | {"windows": windows}, pd.read_csv(folder / name))
        for labels, folder in _scoring(source)
        for windows, name in CURVES.items()
    )


def _crossings(source: Path) -> pd.DataFrame:
    rows = []
    for labels, folder in _scoring(source):
        found = json.loads((folder / INTERSECTION).read_text(encoding="utf-8"))
        for windows, part in {ALL: found, FIRST: found[FIRST]}.items():
            rows += [
                labels | {"windows": windows, "domain": domain} | {k: crossing[k] for k in CROSSING_COLUMNS}
                for domain, crossing in {ALL: part[ALL], **part["domain"]}.items()
            ]
    return pd.DataFrame(rows)


def _contexts(source: Path) -> pd.DataFrame:
    # Records below the source have a contexts.parquet as well, a finished run alone has a summary.
    return _together(
        (
            recorded_arm_and_seed(json.loads(path.read_text(encoding="utf-8"))),
            pd.read_parquet(path.with_name(CONTEXTS)),
        )
        for path in sorted(source.rglob(CONTEXTS_SUMMARY))
    )


def _answers(source: Path) -> pd.DataFrame:
    rows = []
    for run in map(read_evaluation, find_evaluations(source)):
        labels = recorded_arm_and_seed(run.facts, "model_") | {"direction": run.facts["direction"]}
        for task, answers in run.samples.items():
            rows += [
                labels
                | {
                    "task": task,
                    "question": f"{answer['doc_id']}/{answer['question']}",
                    "correct": answer["acc"] == 1,
                }
                for answer in answers
                if "acc" in answer
            ]
    return pd.DataFrame(rows)


COLLECTORS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "runs.csv": _runs,
    "validations.csv": _validations,
    DOCUMENTS: _documents,
    "curves.parquet": _curves,
    "crossings.csv": _crossings,
    "contexts.parquet": _contexts,
    "answers.parquet": _answers,
}
