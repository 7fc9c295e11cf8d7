"""03: a model that has read forward goes on: how far does reverse lag, and what of forward is lost?"""

from __future__ import annotations

import pandas as pd

from revlm.direction import Direction
from revlm.markup import markdown
from revlm.measures.statistics import holm
from revlm.studies.pictures import dots_figure, loss_figure
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
PUBLIC = "public_continued_mixed"
NAMES = {
    BASE: "forward model, before",
    FORWARD: "continued forward",
    MIXED: "continued both ways",
    REVERSE: "continued in reverse",
    SCRATCH: "mixed from scratch, as many tokens as went on both ways",
    DOUBLE: "mixed from scratch, as many tokens in all",
}
QUESTIONS = {
    "start": "before: reverse - forward",
    "end": "continued both ways: reverse - forward",
    "transfer": "reverse: continued both ways - mixed from scratch, equal reverse tokens",
    "compute": "reverse: continued both ways - mixed from scratch, equal tokens in all",
    "shared": "forward: continued both ways - continued forward, equal forward tokens",
    "forgotten": "forward: continued in reverse - before",
}


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
        findings=_findings(documents, effects, validations),
        tables={
            "losses": _losses(documents),
            "effects": _effects(effects),
            "public": _public(validations),
        },
        figures={
            "loss_curves": (
                loss_figure(validations, charts, reading="validation documents of the training corpus"),
                "Validation loss of a forward model that goes on forward, both ways or in reverse.",
            ),
            "effects": (
                dots_figure(
                    [(QUESTIONS[name], found) for name, found in effects.items()],
                    x_title="difference of losses, nats per token",
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
        "shared": difference(MIXED, FORWARD, Direction.FORWARD),
        "forgotten": difference(REVERSE, BASE, Direction.FORWARD),
    }
    return {name: seeded(part, "difference") for name, part in rows.items() if len(part)}


def _findings(
    documents: pd.DataFrame, effects: dict[str, Seeded], validations: pd.DataFrame
) -> list[Finding]:
    found = [_lag(documents, effects, validations)]
    if "transfer" in effects:
        helps = effects["transfer"]
        found.append(
            Finding(
                claim="Having read forward helps to learn reverse, at equal reverse tokens.",
                place="ours",
                verdict=judged(-helps.side()),
                measured=f"{_said(helps)} nats in reverse, against a mixed model from scratch.",
            )
        )
    if "shared" in effects:
        cost = effects["shared"]
        lost = (
            f"; going on in reverse alone costs {_said(effects['forgotten'])}"
            if "forgotten" in effects
            else ""
        )
        found.append(
            Finding(
                claim="Going on both ways costs forward nothing against going on forward.",
                place="ours",
                verdict=judged(-1 if cost.side() > 0 else 0),
                measured=f"{_said(cost)} nats of forward loss, at equal forward tokens{lost}.",
            )
        )
    return found


def _lag(documents: pd.DataFrame, effects: dict[str, Seeded], validations: pd.DataFrame) -> Finding:
    start, end = effects["start"], effects["end"]
    share = share_of(pick(documents, arm=MIXED), "gap", "nll_forward")
    gained = seeded(paired(documents, {"arm": BASE}, {"arm": MIXED}, "gap"), "difference")
    # It lags by more than the margin, and began further above than that.
    lags = {Verdict.NOT: judged(share.side()), Verdict.REPRODUCED: Verdict.NOT}
    verdict = worst([lags.get(within(share, MARGIN), Verdict.UNCLEAR), judged(gained.side())])
    public = _public_ends(validations)
    tail = (
        f" SmolLM2, one run of {public['tokens']:,} tokens: reverse {public['start_reverse']:.2f} to "
        f"{public['end_reverse']:.2f}, forward {public['start_forward']:.2f} to {public['end_forward']:.2f}."
        if public
        else ""
    )
    return Finding(
        claim="Continued on both directions, a forward model's reverse loss starts far above its forward loss and lags behind it.",
        place="section on continued pretraining (Llama2-7B)",
        verdict=verdict,
        measured=(
            f"Reverse is {_said(start)} nats above forward before, and {_said(end)} after; that is "
            f"{short(share.effect, '+.1%')} of the forward loss.{tail}"
        ),
    )


def _said(found: Seeded) -> str:
    return f"{short(found.effect, '+.2f')} (n={found.effect.n:,}, {found.seeds} seeds)"


def _public_ends(validations: pd.DataFrame) -> dict[str, float]:
    rows = pick(validations, arm=PUBLIC).sort_values("tokens")
    if rows.empty:
        return {}
    first, last = rows.iloc[0], rows.iloc[-1]
    return {
        "tokens": int(last["tokens"]),
        "start_forward": first["nll_forward"], "end_forward": last["nll_forward"],
        "start_reverse": first["nll_reverse"], "end_reverse": last["nll_reverse"],
    }  # fmt: skip


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


def _public(validations: pd.DataFrame) -> str:
    rows = [
        [f"{int(row['tokens']):,}", f"{row['nll_forward']:.3f}", f"{row['nll_reverse']:.3f}"]
        for _, row in pick(validations, arm=PUBLIC).sort_values("tokens").iterrows()
    ]
    about = "A public pretrained model continued both ways: validation losses, one seed, no interval."
    return "\n\n".join([about, markdown(["tokens", "forward loss", "reverse loss"], rows)])


STUDY = Study(
    name="03_continued",
    title="A forward model goes on: how far does reverse lag, and what of forward is lost?",
    render=render,
    needs=("runs.csv", "validations.csv", "documents.parquet"),
)
