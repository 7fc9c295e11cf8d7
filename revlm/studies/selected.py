"""06: is a model better for continuing on high-S text than on as much text chosen otherwise?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from revlm.statistics.effect import Effect
from revlm.studies.arms import BOTTOM_S, FORWARD_EN, LENGTH_MATCHED, RANDOM, SELECTED, TOP_S
from revlm.studies.effects import corrected, paired, pick, seeded
from revlm.studies.pictures import dots_figure
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import Verdict, judged

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


def render(records: Records) -> Results:
    """Tables, pictures and findings."""
    documents = records["documents.parquet"]
    answers = records["answers.parquet"]
    answers = answers.assign(
        doc_id=answers["task"] + "/" + answers["question"], correct=answers["correct"].astype(float)
    )
    losses = against(documents, RANDOM, "nll_forward", weights="num_tokens")
    accuracies = against(answers, RANDOM, "correct", weights=None)
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
                    [(SELECTED[arm], found) for arm, found in losses.items()],
                    x_title="held-out forward loss minus that of the random selection, nats per token (below 0: better)",
                    marks={"before": _mean(documents, FORWARD_EN, "nll_forward") - _mean(documents, RANDOM, "nll_forward")},
                ),
                "Held-out loss after continuing on each selection, against a random one.",
            ),
            "accuracy": (
                dots_figure(
                    [(SELECTED[arm], found) for arm, found in accuracies.items()],
                    x_title="share of right answers minus that of the random selection (above 0: better)",
                    counted="questions",
                    marks={
                        "before": _mean(answers, FORWARD_EN, "correct") - _mean(answers, RANDOM, "correct"),
                        "chance": chance - _mean(answers, RANDOM, "correct"),
                    },
                ),
                "Benchmark accuracy after continuing on each selection, against a random one.",
            ),
        },
    )  # fmt: skip


def against(rows: pd.DataFrame, other: str, value: str, *, weights: str | None) -> dict[str, Effect]:
    """Each selection minus another arm, paired by document (or question) and seed."""
    rows = rows if "num_tokens" in rows else rows.assign(num_tokens=1)
    found = {}
    for arm in SELECTED:
        if arm != other:
            both = paired(rows, arm, other, value)
            if len(both):
                found[arm] = seeded(both, "difference", weights=weights)
    return found


def _mean(rows: pd.DataFrame, arm: str, value: str) -> float:
    """Of an arm; nan, which draws no line, where it was not run."""
    part = pick(rows, arm=arm)
    return float(np.average(part[value], weights=part.get("num_tokens"))) if len(part) else np.nan


def _verdict(found: Effect, p: float, *, better: int) -> Verdict:
    """Better by `better`'s sign, after correction and over seeds; worse is not reproduced."""
    return judged(better * found.side(p))


def _benchmarks(accuracies: dict[str, Effect], answers: pd.DataFrame) -> Finding:
    top = accuracies[TOP_S]
    p = corrected(accuracies)[TOP_S]
    return Finding(
        claim="Continuing on high-S text improves benchmark accuracy over as much random text.",
        place="section on data selection (Llama2-7B, Mistral-7B, Llama3-8B)",
        verdict=_verdict(top, p, better=1),
        measured=(
            f"Share of right answers, highest S minus random: {top.text(counts='sentence')}, p after Holm {p:.2g}; "
            f"{', '.join(sorted(set(answers['task'])))}. The model answers {_mean(answers, FORWARD_EN, 'correct'):.3f} right before, "
            f"chance is {answers['task'].map(CHANCE).mean():.3f}."
        ),
    )


def _held_out(losses: dict[str, Effect]) -> Finding:
    p = corrected(losses)
    best = min(losses, key=lambda arm: losses[arm].value)
    return Finding(
        claim="Continuing on high-S text leaves a lower held-out loss than as much random text.",
        place="ours, on every domain's held-out documents",
        verdict=_verdict(losses[TOP_S], p[TOP_S], better=-1),
        measured=(
            f"Highest S minus random: {losses[TOP_S].text(counts='sentence')} nats, p after Holm {p[TOP_S]:.2g}; the best selection is "
            f"{SELECTED[best]}, {losses[best].text(counts='none')}."
        ),
    )


def _sides(documents: pd.DataFrame) -> list[Finding]:
    """Highest S against what is closest to it: the other end of S, and chance among texts as long."""
    findings = []
    for other, claim in (
        (BOTTOM_S, "Continuing on the highest S leaves a lower held-out loss than on the lowest S."),
        (LENGTH_MATCHED, "Continuing on the highest S leaves a lower held-out loss than on random text of the same lengths."),
    ):  # fmt: skip
        both = paired(documents, TOP_S, other, "nll_forward")
        if both.empty:
            continue
        found = seeded(both, "difference")
        findings.append(
            Finding(
                claim=claim,
                place="ours",
                verdict=_verdict(found, found.p, better=-1),
                measured=f"Highest S minus {SELECTED[other]}: {found.text(counts='sentence')} nats.",
            )
        )
    return findings


def _table(
    rows: pd.DataFrame, value: str, differences: dict[str, Effect], weights: str | None, about: str
) -> str:
    p_values = corrected(differences)
    since = against(rows, FORWARD_EN, value, weights=weights)
    lines = []
    for arm, name in {FORWARD_EN: "before", **SELECTED}.items():
        part = pick(rows, arm=arm)
        if len(part):
            found = differences.get(arm)
            beside = (
                [found.text(), f"{p_values[arm]:.2g}"]
                if found
                else ["the baseline" if arm == RANDOM else "", ""]
            )
            lines.append(
                [
                    name,
                    seeded(part, value, weights=weights).text(".3f"),
                    since[arm].text() if arm in since else "",
                    *beside,
                ]
            )
    header = ["continued on", "value", "minus before", "minus random", "p after Holm"]
    return table(about, header, lines)


def _domains(documents: pd.DataFrame) -> str:
    arms = [arm for arm in SELECTED if arm != RANDOM and (documents["arm"] == arm).any()]
    lines = []
    for domain, part in documents.groupby("domain"):
        found = against(part, RANDOM, "nll_forward", weights="num_tokens")
        lines.append([str(domain), *(found[arm].text() if arm in found else "" for arm in arms)])
    about = "Held-out forward loss minus that of the random selection, by domain; nats per token."
    return table(about, ["domain", *(SELECTED[arm] for arm in arms)], lines)


def _tasks(answers: pd.DataFrame) -> str:
    tasks = sorted(set(answers["task"]))
    lines = [
        [name, *(seeded(pick(answers, arm=arm, task=task), "correct", weights=None).text(".3f") for task in tasks)]
        for arm, name in {FORWARD_EN: "before", **SELECTED}.items() if (answers["arm"] == arm).any()
    ]  # fmt: skip
    lines.append(["chance", *(f"{CHANCE[task]:.3f}" for task in tasks)])
    about = "Share of right answers by task; n counts questions."
    return table(about, ["continued on", *tasks], lines)


STUDY = Study(
    name="06_selection",
    title="Is a model better for continuing on high-S text?",
    render=render,
    needs=("documents.parquet", "answers.parquet"),
)
