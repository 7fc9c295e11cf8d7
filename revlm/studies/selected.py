"""06: is a model better for continuing on high-S text than on as much text chosen otherwise?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from revlm.markup import markdown
from revlm.statistics.bootstrap import holm
from revlm.studies.pictures import dots_figure
from revlm.studies.records import Records
from revlm.studies.study import (
    NOTES,
    Finding,
    Results,
    Seeded,
    Study,
    Verdict,
    cell,
    judged,
    paired,
    pick,
    said,
    seeded,
    short,
)

BEFORE = "from_scratch_forward_en"
BASELINE, TOP = "selected_random", "selected_top_s"
# One over the number of options.
CHANCE = {
    "commonsense_qa": 1 / 5,
    "piqa": 1 / 2,
    "openbookqa": 1 / 4,
    "mmlu": 1 / 4,
    "siqa": 1 / 3,
    "logiqa": 1 / 4,
    "medqa": 1 / 5,
    "boolq": 1 / 2,
    "pubmedqa": 1 / 3,
}
ARMS = {
    "selected_top_s": "highest S",
    "selected_bottom_s": "lowest S",
    "selected_random": "random",
    "selected_low_nll": "lowest forward loss",
    "selected_mid_nll": "middle forward loss",
    "selected_high_nll": "highest forward loss",
    "selected_dsir": "DSIR towards wikipedia",
    "selected_length_matched": "random, lengths of highest S",
}


def render(records: Records) -> Results:
    """Tables, pictures and findings."""
    documents = records["documents.parquet"]
    answers = records["answers.parquet"]
    answers = answers.assign(
        doc_id=answers["task"] + "/" + answers["question"], correct=answers["correct"].astype(float)
    )
    losses = against(documents, BASELINE, "nll_forward", weights="num_tokens")
    accuracies = against(answers, BASELINE, "correct", weights=None)
    chance = float(answers["task"].map(CHANCE).mean())
    return Results(
        findings=[
            _benchmarks(accuracies, answers),
            _held_out(losses),
            *_sides(documents),
        ],
        tables={
            "losses": _table(documents, "nll_forward", losses, "num_tokens", "Forward loss of held-out documents, nats per token."),
            "accuracy": _table(
                answers, "correct", accuracies, None,
                f"Share of right answers over all tasks (acc); n counts questions. Chance: {chance:.3f}.",
            ),
            "domains": _domains(documents),
            "tasks": _tasks(answers),
        },
        figures={
            "losses": (
                dots_figure(
                    [(ARMS[arm], found) for arm, found in losses.items()],
                    x_title="held-out forward loss minus that of the random selection, nats per token (below 0: better)",
                    marks={"before": _mean(documents, BEFORE, "nll_forward") - _mean(documents, BASELINE, "nll_forward")},
                ),
                "Held-out loss after continuing on each selection, against a random one.",
            ),
            "accuracy": (
                dots_figure(
                    [(ARMS[arm], found) for arm, found in accuracies.items()],
                    x_title="share of right answers minus that of the random selection (above 0: better)",
                    counted="questions",
                    marks={
                        "before": _mean(answers, BEFORE, "correct") - _mean(answers, BASELINE, "correct"),
                        "chance": chance - _mean(answers, BASELINE, "correct"),
                    },
                ),
                "Benchmark accuracy after continuing on each selection, against a random one.",
            ),
        },
    )  # fmt: skip


def against(rows: pd.DataFrame, other: str, value: str, *, weights: str | None) -> dict[str, Seeded]:
    """Each selection minus another arm, paired by document (or question) and seed."""
    rows = rows if "num_tokens" in rows else rows.assign(num_tokens=1)
    found = {}
    for arm in ARMS:
        if arm != other:
            both = paired(rows, {"arm": arm}, {"arm": other}, value)
            if len(both):
                found[arm] = seeded(both, "difference", weights=weights)
    return found


def _mean(rows: pd.DataFrame, arm: str, value: str) -> float:
    """Of an arm; nan, which draws no line, where it was not run."""
    part = pick(rows, arm=arm)
    return float(np.average(part[value], weights=part.get("num_tokens"))) if len(part) else np.nan


def _verdict(found: Seeded, p: float, *, better: int) -> Verdict:
    """Better by `better`'s sign, after correction and over seeds; worse is not reproduced."""
    return judged(better * found.side(p))


def _corrected(found: dict[str, Seeded]) -> dict[str, float]:
    return dict(zip(found, holm([value.effect.p for value in found.values()]), strict=True))


def _benchmarks(accuracies: dict[str, Seeded], answers: pd.DataFrame) -> Finding:
    top = accuracies[TOP]
    p = _corrected(accuracies)[TOP]
    return Finding(
        claim="Continuing on high-S text improves benchmark accuracy over as much random text.",
        place="section on data selection (Llama2-7B, Mistral-7B, Llama3-8B)",
        verdict=_verdict(top, p, better=1),
        measured=(
            f"Share of right answers, highest S minus random: {said(top)}, p after Holm {p:.2g}; "
            f"{', '.join(sorted(set(answers['task'])))}. The model answers {_mean(answers, BEFORE, 'correct'):.3f} right before, "
            f"chance is {answers['task'].map(CHANCE).mean():.3f}."
        ),
    )


def _held_out(losses: dict[str, Seeded]) -> Finding:
    p = _corrected(losses)
    best = min(losses, key=lambda arm: losses[arm].effect.value)
    return Finding(
        claim="Continuing on high-S text leaves a lower held-out loss than as much random text.",
        place="ours, on every domain's held-out documents",
        verdict=_verdict(losses[TOP], p[TOP], better=-1),
        measured=(
            f"Highest S minus random: {said(losses[TOP])} nats, p after Holm {p[TOP]:.2g}; the best selection is "
            f"{ARMS[best]}, {short(losses[best].effect)}."
        ),
    )


def _sides(documents: pd.DataFrame) -> list[Finding]:
    """Highest S against what is closest to it: the other end of S, and chance among texts as long."""
    findings = []
    for other, claim in (
        ("selected_bottom_s", "Continuing on the highest S leaves a lower held-out loss than on the lowest S."),
        ("selected_length_matched", "Continuing on the highest S leaves a lower held-out loss than on random text of the same lengths."),
    ):  # fmt: skip
        both = paired(documents, {"arm": TOP}, {"arm": other}, "nll_forward")
        if both.empty:
            continue
        found = seeded(both, "difference")
        findings.append(
            Finding(
                claim=claim,
                place="ours",
                verdict=_verdict(found, found.effect.p, better=-1),
                measured=f"Highest S minus {ARMS[other]}: {said(found)} nats.",
            )
        )
    return findings


def _table(
    rows: pd.DataFrame, value: str, differences: dict[str, Seeded], weights: str | None, about: str
) -> str:
    p_values = _corrected(differences)
    since = against(rows, BEFORE, value, weights=weights)
    lines = []
    for arm, name in {BEFORE: "before", **ARMS}.items():
        part = pick(rows, arm=arm)
        if len(part):
            found = differences.get(arm)
            beside = (
                [cell(found), f"{p_values[arm]:.2g}"]
                if found
                else ["the baseline" if arm == BASELINE else "", ""]
            )
            lines.append(
                [
                    name,
                    cell(seeded(part, value, weights=weights), ".3f"),
                    cell(since[arm]) if arm in since else "",
                    *beside,
                ]
            )
    header = ["continued on", "value", "minus before", "minus random", "p after Holm"]
    return "\n\n".join([about, markdown(header, lines), NOTES])


def _domains(documents: pd.DataFrame) -> str:
    arms = [arm for arm in ARMS if arm != BASELINE and (documents["arm"] == arm).any()]
    lines = []
    for domain, part in documents.groupby("domain"):
        found = against(part, BASELINE, "nll_forward", weights="num_tokens")
        lines.append([str(domain), *(cell(found[arm]) if arm in found else "" for arm in arms)])
    about = "Held-out forward loss minus that of the random selection, by domain; nats per token."
    return "\n\n".join([about, markdown(["domain", *(ARMS[arm] for arm in arms)], lines), NOTES])


def _tasks(answers: pd.DataFrame) -> str:
    tasks = sorted(set(answers["task"]))
    lines = [
        [name, *(cell(seeded(pick(answers, arm=arm, task=task), "correct", weights=None), ".3f") for task in tasks)]
        for arm, name in {BEFORE: "before", **ARMS}.items() if (answers["arm"] == arm).any()
    ]  # fmt: skip
    lines.append(["chance", *(f"{CHANCE[task]:.3f}" for task in tasks)])
    about = "Share of right answers by task; n counts questions."
    return "\n\n".join([about, markdown(["continued on", *tasks], lines), NOTES])


STUDY = Study(
    name="06_selection",
    title="Is a model better for continuing on high-S text?",
    render=render,
    needs=("documents.parquet", "answers.parquet"),
)
