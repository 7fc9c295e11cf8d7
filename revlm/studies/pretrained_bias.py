"""01: can a public pretrained model read reversed text?"""

from __future__ import annotations

import pandas as pd

from revlm.direction import Direction
from revlm.statistics.effect import ALPHA, Effect
from revlm.studies.arms import LANGUAGES
from revlm.studies.effects import corrected, holm_cells, paired, pick, seeded, with_gap
from revlm.studies.pictures import dots_figure
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import decided, judged

# The set of documents that stand beside copies of themselves, and the copy that is read.
SHUFFLED, COPY = "shuffled", "word_shuffle/3"
ALL = "all of English"


def render(records: Records) -> Results:
    """Tables, pictures and findings, for every model there."""
    documents = with_gap(records["documents.parquet"])
    plain = documents[documents["set"] != SHUFFLED]
    gaps = {str(model): by_domain(rows, "gap") for model, rows in plain.groupby("arm")}
    orders = {str(model): order_used(pick(documents, arm=model)) for model in gaps}
    shown = [
        (name if len(gaps) == 1 else f"{model}, {name}", found)
        for model, rows in gaps.items()
        for name, found in rows.items()
    ]
    figure = dots_figure(
        shown, x_title="reverse minus forward loss, nats per token (above 0: forward is easier)"
    )
    about = "How much harder reversed text is for a pretrained model, by domain and language."
    return Results(
        findings=[finding for model in gaps for finding in _findings(model, gaps[model], orders[model])],
        tables={"gap": _gaps(gaps), "losses": _losses(plain), "order": _orders(orders)},
        figures={"gap": (figure, about)},
    )


def by_domain(rows: pd.DataFrame, value: str) -> dict[str, Effect]:
    """A column's mean over all of English, then by English domain, then by other languages."""
    english = pick(rows, language="en")
    parts = {ALL: english} | {str(name): part for name, part in english.groupby("domain")}
    parts |= {name: pick(rows, language=language) for language, name in LANGUAGES.items() if language != "en"}
    return {name: seeded(part, value) for name, part in parts.items() if len(part) or name == ALL}


def order_used(documents: pd.DataFrame) -> dict[str, Effect]:
    """What order is worth: losses against the forward loss of the same text with its words shuffled."""
    rows = pick(documents, set=SHUFFLED)
    clean, copies = pick(rows, label="clean"), pick(rows, label=COPY)
    beside = copies.assign(doc_id=copies["doc_id"].str.removesuffix(f"#{COPY}"), arm=SHUFFLED)
    if clean.empty:
        return {}
    found = {}
    for direction in Direction:
        losses = [clean.assign(loss=clean[f"nll_{direction}"]), beside.assign(loss=beside["nll_forward"])]
        both = paired(pd.concat(losses), str(clean["arm"].iloc[0]), SHUFFLED, "loss")
        if len(both):
            found[direction.value] = seeded(both, "difference")
    return found


def _findings(model: str, gaps: dict[str, Effect], order: dict[str, Effect]) -> list[Finding]:
    told = {name: gaps[name].apart for name, p in corrected(gaps).items() if p < ALPHA}
    above, below = ([name for name, side in told.items() if side == sign] for sign in (1, -1))
    whole = gaps[ALL]
    groups = [found for name, found in gaps.items() if name != ALL]
    least, most = (pick_of(found.value for found in groups) for pick_of in (min, max))
    findings = [
        Finding(
            claim=f"A public pretrained model reads reversed text far worse than forward text ({model}).",
            place="section on zero-shot losses of pretrained models",
            verdict=decided(holds=len(above) == len(gaps), fails=bool(below)),
            measured=(
                f"Reverse is {whole.text('+.2f', counts='none')} nats per token above forward over English "
                f"(n={whole.n:,}); above it in {len(above) - (ALL in above)} of {len(groups)} domains and languages after "
                f"Holm, from {least:+.2f} to {most:+.2f} nats. One model: no seeds."
            ),
        )
    ]
    if "reverse" in order:
        effect = order["reverse"]
        findings.append(
            Finding(
                claim=f"Reversed text is no easier for it than the same words shuffled ({model}).",
                place='ours: what "cannot read" means, against a null control',
                verdict=judged(effect.apart),
                measured=(
                    f"Reverse minus shuffled: {effect.text('+.2f', counts='none')} nats per token (n={effect.n:,}); forward minus "
                    f"shuffled: {order['forward'].text('+.2f', counts='none')}."
                ),
            )
        )
    return findings


def _gaps(gaps: dict[str, dict[str, Effect]]) -> str:
    rows = [
        [model, name, *cells] for model, found in gaps.items() for name, cells in holm_cells(found).items()
    ]
    about = "Reverse minus forward loss, nats per token."
    return table(about, ["model", "text", "reverse - forward", "p after Holm"], rows)


def _losses(plain: pd.DataFrame) -> str:
    rows = []
    for model, part in plain.groupby("arm"):
        forward, reverse = by_domain(part, "nll_forward"), by_domain(part, "nll_reverse")
        rows += [[str(model), name, forward[name].text(".2f"), reverse[name].text(".2f")] for name in forward]
    return table("Losses, nats per token.", ["model", "text", "forward", "reverse"], rows)


def _orders(orders: dict[str, dict[str, Effect]]) -> str:
    rows = [
        [model, side, found.text()] for model, by_side in orders.items() for side, found in by_side.items()
    ]
    about = (
        "English documents against the same documents with their words shuffled, read forward; below 0 the order of "
        "words helps."
    )
    return table(about, ["model", "direction", "loss - loss of shuffled words"], rows)


STUDY = Study(
    name="01_pretrained_bias",
    title="Can a public pretrained model read reversed text?",
    render=render,
    needs=("documents.parquet",),
)
