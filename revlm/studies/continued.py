"""03: a model that has read forward is continued: how far does reverse lag, and what of forward is lost?"""

from __future__ import annotations

import pandas as pd

from revlm.direction import Direction
from revlm.statistics.effect import Effect
from revlm.studies import arms
from revlm.studies.effects import by_arm, holm_cells, loss_cells, paired, pick, seeded, share_of, with_gap
from revlm.studies.pictures import dots_figure, training_figure
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import Verdict, costs_little, judged, within, worst

# Less than this share of the loss counts as no lag; the margin of 02_from_scratch.
MARGIN = 0.01
# A public model is read before and after on documents of their own: it is slow.
PUBLIC_SET = "held_out_public"
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
    documents = with_gap(records["documents.parquet"])
    validations = records["validations.csv"]
    effects = compare(documents)
    continued = by_arm(validations, (arms.CONTINUED_FORWARD, arms.CONTINUED_MIXED, arms.CONTINUED_REVERSE))
    charts = [(arms.CONTINUED[arm], dict.fromkeys(Direction, arm)) for arm in continued]
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


def compare(documents: pd.DataFrame) -> dict[str, Effect]:
    """Every question of `QUESTIONS` whose arms are there, in nats."""
    gaps = documents.assign(difference=documents["gap"])
    rows = {
        "start": pick(gaps, arm=arms.FORWARD_EN),
        "end": pick(gaps, arm=arms.CONTINUED_MIXED),
        "transfer": paired(documents, arms.CONTINUED_MIXED, arms.MIXED_EN, "nll_reverse"),
        "compute": paired(documents, arms.CONTINUED_MIXED, arms.DOUBLE_EN, "nll_reverse"),
        "shared": pair_shared(documents),
        "forgotten": paired(documents, arms.CONTINUED_REVERSE, arms.FORWARD_EN, "nll_forward"),
    }
    return {name: seeded(part, "difference") for name, part in rows.items() if len(part)}


def pair_shared(documents: pd.DataFrame) -> pd.DataFrame:
    """Forward losses of the model continued both ways beside those of the one continued forward."""
    return paired(documents, arms.CONTINUED_MIXED, arms.CONTINUED_FORWARD, "nll_forward")


def _findings(documents: pd.DataFrame, effects: dict[str, Effect]) -> list[Finding]:
    found = [_lag(documents, effects)]
    nats = {name: effect.text("+.2f", counts="sentence") for name, effect in effects.items()}
    if "transfer" in effects:
        beside = f"; at equal tokens in all {nats['compute']}" if "compute" in effects else ""
        found.append(
            Finding(
                claim="Having read forward helps to learn reverse, at equal reverse tokens.",
                verdict=judged(-effects["transfer"].side()),
                measured=f"Reverse loss minus that of a mixed model from scratch: {nats['transfer']} nats{beside}.",
            )
        )
    if "shared" in effects:
        cost = share_of(pair_shared(documents), "difference", "nll_forward_other")
        lost = (
            f"; continuing in reverse alone costs {nats['forgotten']} nats" if "forgotten" in effects else ""
        )
        found.append(
            Finding(
                claim=f"Continuing both ways costs less than {MARGIN:.0%} of the forward loss against continuing forward.",
                verdict=costs_little(cost, MARGIN),
                measured=f"{cost.text('+.1%', counts='sentence')} at equal forward tokens{lost}.",
            )
        )
    return found


def _lag(documents: pd.DataFrame, effects: dict[str, Effect]) -> Finding:
    share = share_of(pick(documents, arm=arms.CONTINUED_MIXED), "gap", "nll_forward")
    gained = seeded(paired(documents, arms.FORWARD_EN, arms.CONTINUED_MIXED, "gap"), "difference")
    # It lags by more than the margin, and began further above than that.
    lags = {Verdict.NOT: judged(share.side()), Verdict.REPRODUCED: Verdict.NOT}
    verdict = worst([lags.get(within(share, MARGIN), Verdict.UNCLEAR), judged(gained.side())])
    public = {name: seeded(part, "gap") for name, part in public_models(documents).items()}
    tail = (
        f" A public model, once: {public['before'].text('+.2f', counts='none')} before, "
        f"{public['after'].text('+.2f', counts='none')} after (n={public['after'].n:,})."
        if public
        else ""
    )
    return Finding(
        claim="Continued on both directions, a forward model's reverse loss starts far above its forward loss and lags behind it.",
        place="section on continued pretraining (Llama2-7B)",
        verdict=verdict,
        measured=(
            f"Reverse minus forward: {effects['start'].text('+.2f', counts='sentence')} nats before, "
            f"{effects['end'].text('+.2f', counts='sentence')} after, {share.text('+.1%', counts='none')} of the forward loss.{tail}"
        ),
    )


def _losses(documents: pd.DataFrame) -> str:
    present = by_arm(documents, arms.CONTINUED)
    rows = [[arms.CONTINUED[arm], *loss_cells(part)] for arm, part in present.items()]
    about = "Losses of held-out documents, nats per token."
    return table(about, ["model", "forward loss", "reverse loss"], rows)


def _effects(effects: dict[str, Effect]) -> str:
    rows = [[QUESTIONS[name], *cells] for name, cells in holm_cells(effects).items()]
    about = "Differences of losses on the same held-out documents, nats per token."
    return table(about, ["difference", "value", "p after Holm"], rows)


def public_models(documents: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Documents as a public model reads them before and after it was continued both ways."""
    rows = documents[documents["set"] == PUBLIC_SET]
    after = rows["arm"] == arms.PUBLIC_CONTINUED
    return {"before": rows[~after], "after": rows[after]} if after.any() else {}


def _public(documents: pd.DataFrame, runs: pd.DataFrame) -> str:
    models = public_models(documents)
    rows = [[name, *loss_cells(part), seeded(part, "gap").text()] for name, part in models.items()]
    tokens = pick(runs, arm=arms.PUBLIC_CONTINUED)["tokens"]
    read = f" {int(tokens.iloc[0]):,} tokens" if len(tokens) else ""
    about = f"A public pretrained model before and after it was continued both ways for{read}: held-out documents, nats per token."
    return table(about, ["model", "forward loss", "reverse loss", "reverse - forward"], rows)


STUDY = Study(
    name="03_continued",
    title="A forward model continued: how far does reverse lag, and what of forward is lost?",
    render=render,
    needs=("runs.csv", "validations.csv", "documents.parquet"),
)
