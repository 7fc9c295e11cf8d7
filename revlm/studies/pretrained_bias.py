"""01: can a public pretrained model read reversed text?"""

from __future__ import annotations

import pandas as pd

from revlm.direction import Direction
from revlm.markup import markdown
from revlm.statistics.bootstrap import holm
from revlm.studies.pictures import dots_figure
from revlm.studies.records import Records
from revlm.studies.study import (
    ALPHA,
    LANGUAGES,
    NOTES,
    Finding,
    Results,
    Seeded,
    Study,
    Verdict,
    cell,
    paired,
    pick,
    seeded,
    short,
)

# The set of documents that stand beside copies of themselves, and the copy that is read.
SHUFFLED, COPY = "shuffled", "word_shuffle/3"
ALL = "all of English"


def render(records: Records) -> Results:
    """Tables, pictures and findings, for every model there."""
    documents = records["documents.parquet"]
    documents = documents.assign(gap=documents["nll_reverse"] - documents["nll_forward"])
    plain = documents[documents["set"] != SHUFFLED]
    gaps = {str(model): by_domain(rows, "gap") for model, rows in plain.groupby("arm")}
    orders = {str(model): order_used(pick(documents, arm=model)) for model in gaps}
    return Results(
        findings=[finding for model in gaps for finding in _findings(model, gaps[model], orders[model])],
        tables={
            "gap": _gaps(gaps),
            "losses": _losses(plain),
            "order": _orders(orders),
        },
        figures={
            "gap": (
                dots_figure(
                    [
                        (name if len(gaps) == 1 else f"{model}, {name}", found)
                        for model, rows in gaps.items()
                        for name, found in rows.items()
                    ],
                    x_title="reverse minus forward loss, nats per token (above 0: forward is easier)",
                ),
                "How much harder reversed text is for a pretrained model, by domain and language.",
            ),
        },
    )


def by_domain(rows: pd.DataFrame, value: str) -> dict[str, Seeded]:
    """A column's mean over all of English, then by English domain, then by other languages."""
    english = pick(rows, language="en")
    found = {ALL: seeded(english, value)}
    found |= {str(name): seeded(part, value) for name, part in english.groupby("domain")}
    for language, name in LANGUAGES.items():
        part = pick(rows, language=language)
        if language != "en" and len(part):
            found[name] = seeded(part, value)
    return found


def order_used(documents: pd.DataFrame) -> dict[str, Seeded]:
    """What order is worth: losses against the forward loss of the same text with its words shuffled."""
    rows = pick(documents, set=SHUFFLED)
    clean, copies = pick(rows, label="clean"), pick(rows, label=COPY)
    beside = copies.assign(doc_id=copies["doc_id"].str.removesuffix(f"#{COPY}"), arm=SHUFFLED)
    found = {}
    for direction in Direction:
        losses = [clean.assign(loss=clean[f"nll_{direction}"]), beside.assign(loss=beside["nll_forward"])]
        both = (
            paired(pd.concat(losses), {"arm": str(clean["arm"].iloc[0])}, {"arm": SHUFFLED}, "loss")
            if len(clean)
            else clean
        )
        if len(both):
            found[direction.value] = seeded(both, "difference")
    return found


def _findings(model: str, gaps: dict[str, Seeded], order: dict[str, Seeded]) -> list[Finding]:
    p_values = dict(zip(gaps, holm([found.effect.p for found in gaps.values()]), strict=True))
    above = [name for name, found in gaps.items() if (found.effect.low or 0) > 0 and p_values[name] < ALPHA]
    below = [name for name, found in gaps.items() if (found.effect.high or 0) < 0 and p_values[name] < ALPHA]
    whole = gaps[ALL]
    groups = [found for name, found in gaps.items() if name != ALL]
    least, most = (pick_of(found.effect.value for found in groups) for pick_of in (min, max))
    findings = [
        Finding(
            claim=f"A public pretrained model reads reversed text far worse than forward text ({model}).",
            place="section on zero-shot losses of pretrained models",
            verdict=Verdict.REPRODUCED
            if len(above) == len(gaps)
            else Verdict.NOT
            if below
            else Verdict.UNCLEAR,
            measured=(
                f"Reverse is {short(whole.effect, '+.2f')} nats per token above forward over English "
                f"(n={whole.effect.n:,}); above it in {len(above) - (ALL in above)} of {len(groups)} domains and languages after "
                f"Holm, from {least:+.2f} to {most:+.2f} nats. One model: no seeds."
            ),
        )
    ]
    if "reverse" in order:
        effect = order["reverse"].effect
        low, high = effect.low or 0.0, effect.high or 0.0
        verdict = Verdict.REPRODUCED if low > 0 else Verdict.NOT if high < 0 else Verdict.UNCLEAR
        findings.append(
            Finding(
                claim=f"Reversed text is no easier for it than the same words shuffled ({model}).",
                place='ours: what "cannot read" means, against a null control',
                verdict=verdict,
                measured=(
                    f"Reverse minus shuffled: {short(effect, '+.2f')} nats per token (n={effect.n:,}); forward minus "
                    f"shuffled: {short(order['forward'].effect, '+.2f')}."
                ),
            )
        )
    return findings


def _gaps(gaps: dict[str, dict[str, Seeded]]) -> str:
    rows = [
        [model, name, cell(found), f"{p:.2g}"]
        for model, found_by in gaps.items()
        for (name, found), p in zip(
            found_by.items(), holm([found.effect.p for found in found_by.values()]), strict=True
        )
    ]
    about = "Reverse minus forward loss, nats per token."
    return "\n\n".join([about, markdown(["model", "text", "reverse - forward", "p after Holm"], rows), NOTES])


def _losses(plain: pd.DataFrame) -> str:
    rows = []
    for model, part in plain.groupby("arm"):
        forward, reverse = by_domain(part, "nll_forward"), by_domain(part, "nll_reverse")
        rows += [
            [str(model), name, cell(forward[name], ".2f"), cell(reverse[name], ".2f")] for name in forward
        ]
    about = "Losses, nats per token."
    return "\n\n".join([about, markdown(["model", "text", "forward", "reverse"], rows), NOTES])


def _orders(orders: dict[str, dict[str, Seeded]]) -> str:
    rows = [
        [model, direction, cell(found)]
        for model, found_by in orders.items()
        for direction, found in found_by.items()
    ]
    about = (
        "English documents against the same documents with their words shuffled, read forward; below 0 the order of "
        "words helps."
    )
    return "\n\n".join(
        [about, markdown(["model", "direction", "loss - loss of shuffled words"], rows), NOTES]
    )


STUDY = Study(
    name="01_pretrained_bias",
    title="Can a public pretrained model read reversed text?",
    render=render,
    needs=("documents.parquet",),
)
