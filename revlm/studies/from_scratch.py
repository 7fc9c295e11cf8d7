"""02: from scratch on both directions, do the two loss curves coincide, in every language?"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from revlm.direction import Direction
from revlm.statistics.effect import Effect
from revlm.studies.arms import DOUBLE, FORWARD, FROM_SCRATCH, LANGUAGES, MIXED, REVERSE
from revlm.studies.effects import corrected, paired, pick, seeded, share_of, with_gap
from revlm.studies.pictures import dots_figure, training_figure
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import Verdict, costs_little, judged, within, worst

# The curves "coincide" within this share of the loss. Ours: the paper names no margin. Public
# GPT-2 pairs of one direction each differ by 0.3% to 1.2%.
MARGIN = 0.01


def render(records: Records) -> Results:
    """Tables, pictures and the verdict on both claims."""
    documents = any_language(with_gap(records["documents.parquet"]))
    gaps = gap_table(documents)
    compared = comparisons(pick(documents, language="en"))
    return Results(
        findings=[_coincide(gaps), *_arrow(pick(documents, language="en")), _price(compared)],
        tables={
            "losses": _losses_markdown(documents, records["runs.csv"]),
            "gap": _gap_markdown(gaps),
            "comparisons": _comparisons_markdown(compared),
        },
        figures={
            "loss_curves": (
                loss_curves(records["validations.csv"]),
                "Validation loss by direction over training, for each kind of run.",
            ),
            **(
                {
                    "loss_curves_languages": (
                        language_curves(records["validations.csv"]),
                        "The same for mixed models in other languages.",
                    )
                }
                if languages_of(records["validations.csv"])
                else {}
            ),
            "gap_by_language": (
                gap_figure(gaps),
                "Reverse minus forward loss of mixed models, as a share of the forward loss, by language.",
            ),
        },
    )


def any_language(documents: pd.DataFrame) -> pd.DataFrame:
    """Documents whose arms are named without their language, which is a column."""
    arms = [
        arm.removesuffix(f"_{language}")
        for arm, language in zip(documents["arm"], documents["language"], strict=True)
    ]
    return documents.assign(arm=arms)


def gap_table(documents: pd.DataFrame) -> dict[tuple[str, str], tuple[Effect, Effect]]:
    """(arm, language) -> reverse minus forward of mixed models: in nats, and as a share of the forward loss."""
    found = {}
    mixed = documents[documents["arm"].isin([MIXED, DOUBLE])]
    order = {language: place for place, language in enumerate(LANGUAGES)}
    for (arm, language), rows in sorted(
        mixed.groupby(["arm", "language"]), key=lambda item: (item[0][0], order.get(str(item[0][1]), 99))
    ):
        found[str(arm), str(language)] = seeded(rows, "gap"), share_of(rows, "gap", "nll_forward")
    return found


def comparisons(english: pd.DataFrame) -> dict[tuple[str, Direction], tuple[Effect, Effect]]:
    """What a mixed model loses against a specialist of each direction, paired by document and seed.

    Returns:
        (mixed arm, direction) -> difference in nats, and as a share of the specialist's loss.
    """
    found = {}
    for arm in (MIXED, DOUBLE):
        for direction, specialist in ((Direction.FORWARD, FORWARD), (Direction.REVERSE, REVERSE)):
            column = f"nll_{direction}"
            rows = paired(english, arm, specialist, column)
            if len(rows):
                found[arm, direction] = (
                    seeded(rows, "difference"),
                    share_of(rows, "difference", f"{column}_other"),
                )
    return found


def coincides(share: Effect) -> Verdict:
    """Whether two curves end within MARGIN of one another: their interval, and every seed."""
    return within(share, MARGIN)


def loss_curves(validations: pd.DataFrame) -> Figure:
    """Loss by direction over training in English: each kind of mixed run, and the specialists."""
    english = set(validations["arm"])
    charts = [
        (FROM_SCRATCH[arm], dict.fromkeys(Direction, f"{arm}_en"))
        for arm in (MIXED, DOUBLE)
        if f"{arm}_en" in english
    ]
    two = {Direction.FORWARD: f"{FORWARD}_en", Direction.REVERSE: f"{REVERSE}_en"}
    return training_figure(
        validations,
        [*charts, ("two models, one direction each", two)],
    )


def languages_of(validations: pd.DataFrame) -> list[str]:
    """Other languages than English that mixed models were trained in."""
    return [
        language
        for language in LANGUAGES
        if language != "en" and f"{MIXED}_{language}" in set(validations["arm"])
    ]


def language_curves(validations: pd.DataFrame) -> Figure:
    """Loss by direction over training of the mixed models in each language."""
    charts = [
        (LANGUAGES[language], dict.fromkeys(Direction, f"{MIXED}_{language}"))
        for language in languages_of(validations)
    ]
    return training_figure(validations, charts)


def gap_figure(gaps: dict[tuple[str, str], tuple[Effect, Effect]]) -> Figure:
    """The end gap by language, in percent, with the margin."""
    return dots_figure(
        [(_name(key), share) for key, (_, share) in gaps.items()],
        x_title="reverse minus forward loss, % of the forward loss (below 0: reverse is easier)",
        scale=100,
        margin=MARGIN,
    )


def _coincide(gaps: dict[tuple[str, str], tuple[Effect, Effect]]) -> Finding:
    verdicts = {key: coincides(share) for key, (_, share) in gaps.items()}
    apart = [key for key, verdict in verdicts.items() if verdict is not Verdict.REPRODUCED]
    shares = {key: share for key, (_, share) in gaps.items()}
    widest = max(shares, key=lambda key: abs(shares[key].value))
    languages = {language for _, language in gaps}
    inside = len(gaps) - len(apart)
    return Finding(
        claim="Trained from scratch on both directions, the two loss curves converge almost identically, in every language.",
        place="section on training from scratch",
        verdict=worst(list(verdicts.values())),
        measured=(
            f"{inside} of {len(gaps)} mixed arms in {len(languages)} languages end within {MARGIN:.0%} "
            f"of the forward loss (interval and every seed); the largest mean gap, {_name(widest)}: {shares[widest].text('+.2%', counts='sentence')}."
        ),
    )


def _arrow(english: pd.DataFrame) -> list[Finding]:
    """Known beside the paper: how far two models of one direction each end apart."""
    first = pick(english, arm=REVERSE).assign(loss=lambda rows: rows["nll_reverse"])
    second = pick(english, arm=FORWARD).assign(loss=lambda rows: rows["nll_forward"])
    rows = paired(pd.concat([first, second]), REVERSE, FORWARD, "loss")
    if not len(rows):
        return []
    found = share_of(rows, "difference", "loss_other")
    return [
        Finding(
            claim="Of separate models of one direction each, the forward one ends lower.",
            place="beside the paper: Arrows of Time, arXiv 2401.17505",
            verdict=judged(found.side()),
            measured=f"Loss of the reverse model minus that of the forward model: {found.text('+.2%', counts='sentence')}.",
        )
    ]


def _price(compared: dict[tuple[str, Direction], tuple[Effect, Effect]]) -> Finding:
    """Ours: what reading both ways costs each direction."""
    shares = {
        arm: {direction: share for (one, direction), (_, share) in compared.items() if one == arm}
        for arm in (DOUBLE, MIXED)
    }
    twice = "; ".join(
        f"{direction} {share.text('+.2%', counts='sentence')}" for direction, share in shares[DOUBLE].items()
    )
    once = "; ".join(
        f"{direction} {share.text('+.2%', counts='none')}" for direction, share in shares[MIXED].items()
    )
    same = [costs_little(share, MARGIN) for share in shares[DOUBLE].values()]
    return Finding(
        claim=f"At equal tokens per direction, reading both ways costs each direction less than {MARGIN:.0%} of its loss.",
        place="ours",
        verdict=worst(same) if same else Verdict.UNCLEAR,
        measured=(
            f"Mixed minus specialist, at twice the compute: {twice}. At equal compute, half the tokens per "
            f"direction: {once}."
        ),
    )


def _name(key: tuple[str, str]) -> str:
    return f"{LANGUAGES.get(key[1], key[1])} ({FROM_SCRATCH[key[0]]})"


def _losses_markdown(documents: pd.DataFrame, runs: pd.DataFrame) -> str:
    tokens = dict(zip(runs["arm"], runs["tokens"], strict=True))
    header = ["run", "language", "training tokens", "forward loss", "reverse loss"]
    rows = [
        [FROM_SCRATCH[str(arm)], LANGUAGES.get(str(language), str(language)), f"{tokens.get(f'{arm}_{language}', 0):,}",
         *(seeded(part, f"nll_{direction}").text(".3f") for direction in Direction)]
        for (arm, language), part in documents.groupby(["arm", "language"]) if arm in FROM_SCRATCH
    ]  # fmt: skip
    return table("Losses of held-out documents, nats per token.", header, rows)


def _gap_markdown(gaps: dict[tuple[str, str], tuple[Effect, Effect]]) -> str:
    header = ["mixed run", "reverse - forward, nats", "as a share of forward", f"within {MARGIN:.0%}"]
    rows = [
        [_name(key), nats.text(), share.text("+.2%"), coincides(share).value]
        for key, (nats, share) in gaps.items()
    ]
    return table("How far the two directions of a mixed model end apart.", header, rows)


def _comparisons_markdown(compared: dict[tuple[str, Direction], tuple[Effect, Effect]]) -> str:
    p_values = corrected({key: nats for key, (nats, _) in compared.items()})
    header = [
        "mixed run, English",
        "direction",
        "mixed - specialist, nats",
        "as a share of the specialist's",
        "p after Holm",
    ]
    rows = [
        [
            FROM_SCRATCH[arm],
            direction.value,
            nats.text(),
            share.text("+.2%"),
            f"{p_values[arm, direction]:.2g}",
        ]
        for (arm, direction), (nats, share) in compared.items()
    ]
    about = "What a mixed model loses against a model of one direction; above 0 the specialist is better."
    return table(about, header, rows)


STUDY = Study(
    name="02_from_scratch",
    title="From scratch on both directions: do the two loss curves coincide?",
    render=render,
    needs=("runs.csv", "validations.csv", "documents.parquet"),
)
