"""03: a model that has read forward is continued: how far does reverse lag, and what of forward is lost?"""

from __future__ import annotations

import pandas as pd

from revlm.direction import Direction
from revlm.markup import markdown
from revlm.statistics.bootstrap import holm
from revlm.studies.pictures import dots_figure, training_figure
from revlm.studies.records import Records
from revlm.studies.study import (
    NOTES,
    Finding,
    Results,
    Seeded,
    Study,
    Verdict,
    cell,
    costs_little,
    judged,
    paired,
    pick,
    said,
    seeded,
    share_of,
    short,
    within,
    worst,
)

# Less than this share of the loss counts as no lag; the margin of 02_from_scratch.
MARGIN = 0.01
BASE, SCRATCH, DOUBLE = "from_scratch_forward_en", "from_scratch_mixed_en", "from_scratch_mixed_double_en"
FORWARD, REVERSE, MIXED = (f"continued_{arm}_en" for arm in ("forward", "reverse", "mixed"))
# A public model is read before and after on documents of their own: it is slow.
PUBLIC, PUBLIC_SET = "public_continued_mixed", "held_out_public"
NAMES = {
    BASE: "forward model, before",
    FORWARD: "continued forward",
    MIXED: "continued both ways",
    REVERSE: "continued in reverse",
    SCRATCH: "mixed from scratch, equal reverse tokens",
    DOUBLE: "mixed from scratch, equal tokens in all",
}
QUESTIONS = {
    "start": "before: reverse - forward",
    "end": "continued both ways: reverse - forward",
    "transfer": "reverse: continued both ways - mixed from scratch, equal reverse tokens",
    "compute": "reverse: continued both ways - mixed from scratch, equal tokens in all",
    "shared": "forward: continued both ways - continued forward, equal forward tokens",
    "forgotten": "forward: continued in reverse - before",
}
SHOWN = ("end", "transfer", "compute", "shared")


def render(records: Records) -> Results:
    """Tables, pictures and findings."""
    documents = records["documents.parquet"]
    documents = documents.assign(gap=documents["nll_reverse"] - documents["nll_forward"])
    validations = records["validations.csv"]
    effects = compare(documents)
    charts = [
        (NAMES[arm], dict.fromkeys(Direction, arm))
        for arm in (FORWARD, MIXED, REVERSE)
        if (validations["arm"] == arm).any()
    ]
    return Results(
        findings=_findings(documents, effects),
        tables={
            "losses": _losses(documents),
            "effects": _effects(effects),
            "public": _public(documents, records["runs.csv"]),
        },
        figures={
            "loss_curves": (
                training_figure(validations, charts),
                "Validation loss of a forward model continued forward, both ways or in reverse.",
            ),
            "effects": (
                dots_figure(
                    # The other two are ten times as large, and the curves show them.
                    [(QUESTIONS[name], effects[name]) for name in SHOWN if name in effects],
                    x_title="difference of losses, nats per token (below 0: the first one is lower)",
                ),
                "Differences between the arms, with intervals over documents and seeds as ticks.",
            ),
        },
    )


def compare(documents: pd.DataFrame) -> dict[str, Seeded]:
    """Every question of `QUESTIONS` whose arms are there, in nats."""

    def difference(arm: str, other: str, direction: Direction) -> pd.DataFrame:
        return paired(documents, {"arm": arm}, {"arm": other}, f"nll_{direction}")

    rows = {
        "start": pick(documents, arm=BASE).assign(difference=lambda part: part["gap"]),
        "end": pick(documents, arm=MIXED).assign(difference=lambda part: part["gap"]),
        "transfer": difference(MIXED, SCRATCH, Direction.REVERSE),
        "compute": difference(MIXED, DOUBLE, Direction.REVERSE),
        "shared": pair_shared(documents),
        "forgotten": difference(REVERSE, BASE, Direction.FORWARD),
    }
    return {name: seeded(part, "difference") for name, part in rows.items() if len(part)}


def pair_shared(documents: pd.DataFrame) -> pd.DataFrame:
    """Forward losses of the model continued both ways beside those of the one continued forward."""
    return paired(documents, {"arm": MIXED}, {"arm": FORWARD}, f"nll_{Direction.FORWARD}")


def _findings(documents: pd.DataFrame, effects: dict[str, Seeded]) -> list[Finding]:
    found = [_lag(documents, effects)]
    if "transfer" in effects:
        helps = effects["transfer"]
        beside = (
            f"; at equal tokens in all {said(effects['compute'], '+.2f')}" if "compute" in effects else ""
        )
        found.append(
            Finding(
                claim="Having read forward helps to learn reverse, at equal reverse tokens.",
                place="ours",
                verdict=judged(-helps.side()),
                measured=f"Reverse loss minus that of a mixed model from scratch: {said(helps, '+.2f')} nats{beside}.",
            )
        )
    if "shared" in effects:
        cost = share_of(pair_shared(documents), "difference", "nll_forward_other")
        lost = (
            f"; continuing in reverse alone costs {said(effects['forgotten'], '+.2f')} nats"
            if "forgotten" in effects
            else ""
        )
        found.append(
            Finding(
                claim=f"Continuing both ways costs less than {MARGIN:.0%} of the forward loss against continuing forward.",
                place="ours",
                verdict=costs_little(cost, MARGIN),
                measured=f"{said(cost, '+.1%')} at equal forward tokens{lost}.",
            )
        )
    return found


def _lag(documents: pd.DataFrame, effects: dict[str, Seeded]) -> Finding:
    start, end = effects["start"], effects["end"]
    share = share_of(pick(documents, arm=MIXED), "gap", "nll_forward")
    gained = seeded(paired(documents, {"arm": BASE}, {"arm": MIXED}, "gap"), "difference")
    # It lags by more than the margin, and began further above than that.
    lags = {Verdict.NOT: judged(share.side()), Verdict.REPRODUCED: Verdict.NOT}
    verdict = worst([lags.get(within(share, MARGIN), Verdict.UNCLEAR), judged(gained.side())])
    public = {name: seeded(part, "gap").effect for name, part in public_models(documents).items()}
    tail = (
        f" A public model, once: {short(public['before'], '+.2f')} before, {short(public['after'], '+.2f')} after (n={public['after'].n:,})."
        if public
        else ""
    )
    return Finding(
        claim="Continued on both directions, a forward model's reverse loss starts far above its forward loss and lags behind it.",
        place="section on continued pretraining (Llama2-7B)",
        verdict=verdict,
        measured=(
            f"Reverse minus forward: {said(start, '+.2f')} nats before, {said(end, '+.2f')} after, "
            f"{short(share.effect, '+.1%')} of the forward loss.{tail}"
        ),
    )


def _losses(documents: pd.DataFrame) -> str:
    rows = [
        [name, cell(seeded(part, "nll_forward"), ".3f"), cell(seeded(part, "nll_reverse"), ".3f")]
        for arm, name in NAMES.items()
        if len(part := pick(documents, arm=arm))
    ]
    about = "Losses of held-out documents, nats per token."
    return "\n\n".join([about, markdown(["model", "forward loss", "reverse loss"], rows), NOTES])


def _effects(effects: dict[str, Seeded]) -> str:
    p_values = holm([found.effect.p for found in effects.values()])
    rows = [
        [QUESTIONS[name], cell(found), f"{p:.2g}"]
        for (name, found), p in zip(effects.items(), p_values, strict=True)
    ]
    about = "Differences of losses on the same held-out documents, nats per token."
    return "\n\n".join([about, markdown(["difference", "value", "p after Holm"], rows), NOTES])


def public_models(documents: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Documents as a public model reads them before and after it was continued both ways."""
    rows = documents[documents["set"] == PUBLIC_SET]
    after = rows["arm"] == PUBLIC
    return {"before": rows[~after], "after": rows[after]} if after.any() else {}


def _public(documents: pd.DataFrame, runs: pd.DataFrame) -> str:
    rows = [
        [name, *(cell(seeded(part, value), form) for value, form in (("nll_forward", ".3f"), ("nll_reverse", ".3f"), ("gap", "+.3f")))]
        for name, part in public_models(documents).items()
    ]  # fmt: skip
    tokens = pick(runs, arm=PUBLIC)["tokens"]
    read = f" {int(tokens.iloc[0]):,} tokens" if len(tokens) else ""
    about = f"A public pretrained model before and after it was continued both ways for{read}: held-out documents, nats per token."
    return "\n\n".join(
        [about, markdown(["model", "forward loss", "reverse loss", "reverse - forward"], rows), NOTES]
    )


STUDY = Study(
    name="03_continued",
    title="A forward model continued: how far does reverse lag, and what of forward is lost?",
    render=render,
    needs=("runs.csv", "validations.csv", "documents.parquet"),
)
