"""06: is a model better for going on with high-S text than with as much text chosen otherwise?"""

from __future__ import annotations

import pandas as pd

from revlm.markup import markdown
from revlm.measures.statistics import holm
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
BASELINE = "selected_random"
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
    losses = against_random(documents, "nll_forward", weights="num_tokens")
    accuracies = against_random(answers, "correct", weights=None)
    return Results(
        findings=[
            _benchmarks(accuracies),
            _held_out(losses),
            _sides(documents),
        ],
        tables={
            "losses": _table(documents, "nll_forward", losses, "num_tokens", "Forward loss of held-out documents, nats per token."),
            "accuracy": _table(answers, "correct", accuracies, None, "Share of right answers over all tasks."),
            "domains": _domains(documents),
            "tasks": _tasks(answers),
        },
        figures={
            "losses": (
                dots_figure(
                    [(ARMS[arm], found) for arm, found in losses.items()],
                    x_title="held-out forward loss minus that of the random selection, nats per token (below 0: better)",
                ),
                "Held-out loss after going on with each selection, against a random one.",
            ),
            "accuracy": (
                dots_figure(
                    [(ARMS[arm], found) for arm, found in accuracies.items()],
                    x_title="share of right answers minus that of the random selection (above 0: better)",
                ),
                "Benchmark accuracy after going on with each selection, against a random one.",
            ),
        },
    )  # fmt: skip


def against_random(rows: pd.DataFrame, value: str, *, weights: str | None) -> dict[str, Seeded]:
    """Each arm minus the random one, paired by document (or question) and seed."""
    rows = rows if "num_tokens" in rows else rows.assign(num_tokens=1)
    found = {}
    for arm in ARMS:
        if arm != BASELINE:
            both = paired(rows, {"arm": arm}, {"arm": BASELINE}, value)
            if len(both):
                found[arm] = seeded(both, "difference", weights=weights)
    return found


def _verdict(found: Seeded, p: float, *, better: int) -> Verdict:
    """Better by `better`'s sign, after correction and over seeds; worse is not reproduced."""
    return judged(better * found.side(p))


def _corrected(found: dict[str, Seeded]) -> dict[str, float]:
    return dict(zip(found, holm([value.effect.p for value in found.values()]), strict=True))


def _benchmarks(accuracies: dict[str, Seeded]) -> Finding:
    top = accuracies["selected_top_s"]
    p = _corrected(accuracies)["selected_top_s"]
    return Finding(
        claim="Going on with high-S text improves benchmark accuracy over as much random text.",
        place="section on data selection (Llama2-7B, Mistral-7B, Llama3-8B)",
        verdict=_verdict(top, p, better=1),
        measured=(f"Highest S minus random: {said(top)} of answers right, p after Holm {p:.2g}."),
    )


def _held_out(losses: dict[str, Seeded]) -> Finding:
    p = _corrected(losses)
    top = losses["selected_top_s"]
    best = min(losses, key=lambda arm: losses[arm].effect.value)
    return Finding(
        claim="Going on with high-S text lowers the held-out loss more than as much random text.",
        place="ours, on every domain's held-out documents",
        verdict=_verdict(top, p["selected_top_s"], better=-1),
        measured=(
            f"Highest S minus random: {said(top)} nats, p after Holm {p['selected_top_s']:.2g}; the best arm is "
            f"{ARMS[best]}, {short(losses[best].effect)}."
        ),
    )


def _sides(documents: pd.DataFrame) -> Finding:
    both = paired(documents, {"arm": "selected_top_s"}, {"arm": "selected_bottom_s"}, "nll_forward")
    if both.empty:
        return Finding(
            "Highest S serves better than lowest S.",
            "section on data selection",
            Verdict.UNCLEAR,
            "Not run at this scale.",
        )
    found = seeded(both, "difference")
    return Finding(
        claim="Highest S serves better than lowest S.",
        place="section on data selection",
        verdict=_verdict(found, found.effect.p, better=-1),
        measured=f"Held-out forward loss, highest minus lowest S: {said(found)} nats.",
    )


def _table(
    rows: pd.DataFrame, value: str, differences: dict[str, Seeded], weights: str | None, about: str
) -> str:
    p_values = _corrected(differences)
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
            lines.append([name, cell(seeded(part, value, weights=weights), ".3f"), *beside])
    header = ["went on with", "value", "minus random", "p after Holm"]
    return "\n\n".join([about, markdown(header, lines), NOTES])


def _domains(documents: pd.DataFrame) -> str:
    arms = [arm for arm in ARMS if arm != BASELINE and (documents["arm"] == arm).any()]
    lines = []
    for domain, part in documents.groupby("domain"):
        found = against_random(part, "nll_forward", weights="num_tokens")
        lines.append([str(domain), *(cell(found[arm]) if arm in found else "" for arm in arms)])
    about = "Held-out forward loss minus that of the random selection, by domain; nats per token."
    return "\n\n".join([about, markdown(["domain", *(ARMS[arm] for arm in arms)], lines), NOTES])


def _tasks(answers: pd.DataFrame) -> str:
    tasks = sorted(set(answers["task"]))
    lines = [
        [name, *(cell(seeded(pick(answers, arm=arm, task=task), "correct", weights=None), ".3f") for task in tasks)]
        for arm, name in {BEFORE: "before", **ARMS}.items() if (answers["arm"] == arm).any()
    ]  # fmt: skip
    about = "Share of right answers by task."
    return "\n\n".join([about, markdown(["went on with", *tasks], lines), NOTES])


STUDY = Study(
    name="06_selection",
    title="Is a model better for going on with high-S text?",
    render=render,
    needs=("documents.parquet", "answers.parquet"),
)
