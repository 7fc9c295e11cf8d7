"""06: is a model better for continuing on high-S text than on as much text chosen otherwise?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from revlm.statistics.effect import Effect
from revlm.studies.arms import BOTTOM_S, FORWARD_EN, LENGTH_MATCHED, RANDOM, SELECTED, TOP_S
from revlm.studies.effects import by_arm, corrected, holm_cells, paired, pick, seeded
from revlm.studies.pictures import dots_figure
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import judged

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
NAMES = {FORWARD_EN: "before", **SELECTED}


def render(records: Records) -> Results:
    """Tables, pictures and findings."""
    documents, answers = records["documents.parquet"], records["answers.parquet"]
    # Each question counts alike.
    answers = answers.assign(
        doc_id=answers["task"] + "/" + answers["question"],
        correct=answers["correct"].astype(float),
        num_tokens=1,
    )
    losses, accuracies = against(documents, RANDOM, "nll_forward"), against(answers, RANDOM, "correct")
    chance = float(answers["task"].map(CHANCE).mean())
    loss_before, loss_random = (_mean(documents, arm, "nll_forward") for arm in (FORWARD_EN, RANDOM))
    right_before, right_random = (_mean(answers, arm, "correct") for arm in (FORWARD_EN, RANDOM))
    loss_figure = dots_figure(
        [(SELECTED[arm], found) for arm, found in losses.items()],
        x_title="held-out forward loss minus that of the random selection, nats per token (below 0: better)",
        marks={"before": loss_before - loss_random},
    )
    accuracy_figure = dots_figure(
        [(SELECTED[arm], found) for arm, found in accuracies.items()],
        x_title="share of right answers minus that of the random selection (above 0: better)",
        counted="questions",
        marks={"before": right_before - right_random, "chance": chance - right_random},
    )
    compared = "after continuing on each selection, against a random one."
    about_loss = "Forward loss of held-out documents, nats per token."
    about_accuracy = f"Share of right answers over all tasks (acc); n counts questions. Chance: {chance:.3f}."
    return Results(
        findings=[_benchmarks(accuracies, answers), _held_out(losses), *_sides(documents)],
        tables={
            "losses": _table(documents, "nll_forward", losses, about_loss),
            "accuracy": _table(answers, "correct", accuracies, about_accuracy),
            "domains": _domains(documents),
            "tasks": _tasks(answers),
        },
        figures={
            "losses": (loss_figure, f"Held-out loss {compared}"),
            "accuracy": (accuracy_figure, f"Benchmark accuracy {compared}"),
        },
    )


def against(rows: pd.DataFrame, other: str, value: str) -> dict[str, Effect]:
    """Each selection minus another arm, paired by document (or question) and seed."""
    found = {arm: paired(rows, arm, other, value) for arm in SELECTED if arm != other}
    return {arm: seeded(both, "difference") for arm, both in found.items() if len(both)}


def _mean(rows: pd.DataFrame, arm: str, value: str) -> float:
    """Of an arm; nan, which draws no line, where it was not run."""
    part = pick(rows, arm=arm)
    return float(np.average(part[value], weights=part["num_tokens"])) if len(part) else np.nan


def _benchmarks(accuracies: dict[str, Effect], answers: pd.DataFrame) -> Finding:
    top, p = accuracies[TOP_S], corrected(accuracies)[TOP_S]
    return Finding(
        claim="Continuing on high-S text improves benchmark accuracy over as much random text.",
        place="section on data selection (Llama2-7B, Mistral-7B, Llama3-8B)",
        verdict=judged(top.side(p)),
        measured=(
            f"Share of right answers, highest S minus random: {top.text(counts='sentence')}, p after Holm {p:.2g}; "
            f"{', '.join(sorted(set(answers['task'])))}. The model answers {_mean(answers, FORWARD_EN, 'correct'):.3f} right before, "
            f"chance is {answers['task'].map(CHANCE).mean():.3f}."
        ),
    )


def _held_out(losses: dict[str, Effect]) -> Finding:
    top, p = losses[TOP_S], corrected(losses)[TOP_S]
    best = min(losses, key=lambda arm: losses[arm].value)
    return Finding(
        claim="Continuing on high-S text leaves a lower held-out loss than as much random text.",
        place="ours, on every domain's held-out documents",
        verdict=judged(-top.side(p)),
        measured=(
            f"Highest S minus random: {top.text(counts='sentence')} nats, p after Holm {p:.2g}; the best selection is "
            f"{SELECTED[best]}, {losses[best].text(counts='none')}."
        ),
    )


def _sides(documents: pd.DataFrame) -> list[Finding]:
    """Highest S against what is closest to it: the other end of S, and chance among texts as long."""
    others = {BOTTOM_S: "the lowest S", LENGTH_MATCHED: "random text of the same lengths"}
    pairs = {other: paired(documents, TOP_S, other, "nll_forward") for other in others}
    found = {other: seeded(both, "difference") for other, both in pairs.items() if len(both)}
    return [
        Finding(
            claim=f"Continuing on the highest S leaves a lower held-out loss than on {others[other]}.",
            verdict=judged(-effect.side()),
            measured=f"Highest S minus {SELECTED[other]}: {effect.text(counts='sentence')} nats.",
        )
        for other, effect in found.items()
    ]


def _table(rows: pd.DataFrame, value: str, differences: dict[str, Effect], about: str) -> str:
    since = {arm: found.text() for arm, found in against(rows, FORWARD_EN, value).items()}
    beside = holm_cells(differences) | {RANDOM: ["the baseline", ""]}
    lines = [
        [NAMES[arm], seeded(part, value).text(".3f"), since.get(arm, ""), *beside.get(arm, ["", ""])]
        for arm, part in by_arm(rows, NAMES).items()
    ]
    header = ["continued on", "value", "minus before", "minus random", "p after Holm"]
    return table(about, header, lines)


def _domains(documents: pd.DataFrame) -> str:
    arms = [arm for arm in by_arm(documents, SELECTED) if arm != RANDOM]
    lines = []
    for domain, part in documents.groupby("domain"):
        found = against(part, RANDOM, "nll_forward")
        lines.append([str(domain), *(found[arm].text() if arm in found else "" for arm in arms)])
    about = "Held-out forward loss minus that of the random selection, by domain; nats per token."
    return table(about, ["domain", *(SELECTED[arm] for arm in arms)], lines)


def _tasks(answers: pd.DataFrame) -> str:
    tasks = sorted(set(answers["task"]))
    lines = [
        [NAMES[arm], *(seeded(pick(part, task=task), "correct").text(".3f") for task in tasks)]
        for arm, part in by_arm(answers, NAMES).items()
    ]
    lines.append(["chance", *(f"{CHANCE[task]:.3f}" for task in tasks)])
    about = "Share of right answers by task; n counts questions."
    return table(about, ["continued on", *tasks], lines)


STUDY = Study(
    name="06_selection",
    title="Is a model better for continuing on high-S text?",
    render=render,
    needs=("documents.parquet", "answers.parquet"),
)
