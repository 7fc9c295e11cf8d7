"""02: from scratch on both directions, do the two loss curves coincide, in every language?"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from revlm.direction import Direction
from revlm.markup import markdown
from revlm.measures.statistics import holm
from revlm.records.drawing import (
    COLOURS,
    DASHES,
    NEUTRAL,
    STYLE,
    Line,
    draw_line,
    end_labels,
    finish,
    headline,
    panels,
    token_ticks,
    zero_line,
)
from revlm.studies.records import Records
from revlm.studies.study import (
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
    worst,
)

# The curves "coincide" within this share of the loss. Ours: the paper names no margin. Public
# GPT-2 pairs of one direction each differ by 0.3% to 1.2%.
MARGIN = 0.01
FORWARD, REVERSE, MIXED, DOUBLE = (
    f"from_scratch_{arm}" for arm in ("forward", "reverse", "mixed", "mixed_double")
)
NAMES = {
    FORWARD: "forward only",
    REVERSE: "reverse only",
    MIXED: "mixed, same compute",
    DOUBLE: "mixed, same tokens per direction",
}
LANGUAGES = {"en": "English", "de": "German", "es": "Spanish", "zh": "Chinese", "ja": "Japanese", "ar": "Arabic",
             "nl": "Dutch"}  # fmt: skip


def render(records: Records) -> Results:
    """Tables, pictures and the verdict on both claims."""
    documents = with_gap(records["documents.parquet"])
    gaps = gap_table(documents)
    compared = comparisons(pick(documents, language="en"))
    return Results(
        findings=[_coincide(gaps), _price(compared)],
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
            "gap_by_language": (
                gap_figure(gaps),
                "Reverse minus forward loss of mixed models, as a share of the forward loss, by language.",
            ),
        },
    )


def with_gap(documents: pd.DataFrame) -> pd.DataFrame:
    """Documents with arm and language apart, and how much harder reverse was."""
    arms = [
        arm.removesuffix(f"_{language}")
        for arm, language in zip(documents["arm"], documents["language"], strict=True)
    ]
    return documents.assign(arm=arms, gap=documents["nll_reverse"] - documents["nll_forward"])


def gap_table(documents: pd.DataFrame) -> dict[tuple[str, str], tuple[Seeded, Seeded]]:
    """(arm, language) -> reverse minus forward of mixed models: in nats, and as a share of the forward loss."""
    found = {}
    mixed = documents[documents["arm"].isin([MIXED, DOUBLE])]
    order = {language: place for place, language in enumerate(LANGUAGES)}
    for (arm, language), rows in sorted(
        mixed.groupby(["arm", "language"]), key=lambda item: (item[0][0], order.get(str(item[0][1]), 99))
    ):
        nats = seeded(rows, "gap")
        # A share of the loss: the ratio of two means over the same resampled documents.
        share = rows.assign(
            share=rows["gap"] / rows["nll_forward"], weight=rows["nll_forward"] * rows["num_tokens"]
        )
        found[str(arm), str(language)] = nats, seeded(share, "share", weights="weight")
    return found


def comparisons(english: pd.DataFrame) -> dict[tuple[str, Direction], tuple[Seeded, Seeded]]:
    """What a mixed model loses against a specialist of each direction, paired by document and seed.

    Returns:
        (mixed arm, direction) -> difference in nats, and as a share of the specialist's loss.
    """
    found = {}
    for arm in (MIXED, DOUBLE):
        for direction, specialist in ((Direction.FORWARD, FORWARD), (Direction.REVERSE, REVERSE)):
            column = f"nll_{direction}"
            rows = paired(english, {"arm": arm}, {"arm": specialist}, column)
            if len(rows):
                loss = rows[f"{column}_other"]
                share = rows.assign(share=rows["difference"] / loss, weight=loss * rows["num_tokens"])
                found[arm, direction] = seeded(rows, "difference"), seeded(share, "share", weights="weight")
    return found


def coincides(share: Seeded) -> Verdict:
    """Whether two curves end within MARGIN of one another: their interval, and every seed."""
    low, high = share.effect.low, share.effect.high
    if low is None or high is None:
        return Verdict.UNCLEAR
    if low > MARGIN or high < -MARGIN:
        return Verdict.NOT
    inside = low > -MARGIN and high < MARGIN and all(abs(v) < MARGIN for v in share.by_seed.values())
    return Verdict.REPRODUCED if inside else Verdict.UNCLEAR


def loss_curves(validations: pd.DataFrame) -> Figure:
    """Loss by direction over training in English, a panel for each kind of mixed run and one for the specialists."""
    english = validations[validations["arm"].str.endswith("_en")]
    arms = [arm for arm in (MIXED, DOUBLE) if (english["arm"] == f"{arm}_en").any()]
    with mpl.rc_context(STYLE):
        figure, found = panels(len(arms) + 1)
        charts = [*(dict.fromkeys(Direction, arm) for arm in arms), {Direction.FORWARD: FORWARD, Direction.REVERSE: REVERSE}]  # fmt: skip
        ends = []
        for panel, sides in zip(found, charts, strict=True):
            lines = {d: _line(english[english["arm"] == f"{arm}_en"], f"nll_{d}") for d, arm in sides.items()}
            for direction, line in lines.items():
                draw_line(panel.chart, line, COLOURS[direction], dashes=DASHES[direction])
            gap = lines[Direction.REVERSE].mean - lines[Direction.FORWARD].mean
            nothing = np.full_like(gap, np.nan)
            draw_line(panel.strip, Line(lines[Direction.FORWARD].x, gap, nothing, nothing), NEUTRAL)
            zero_line(panel.strip)
            token_ticks(panel.strip)
            one = len(set(sides.values())) == 1
            name = NAMES[sides[Direction.FORWARD]] if one else "two models, one direction each"
            last = abs(float(gap[-1])) / float(lines[Direction.FORWARD].mean[-1])
            headline(panel, f"{name}:\n{last:.2%} apart at the end", _seeds_text(english, sides))
            ends.append(
                {str(d): (float(line.x[-1]), float(line.mean[-1]), COLOURS[d]) for d, line in lines.items()}
            )
        for panel, labels in zip(found, ends, strict=True):
            end_labels(panel.chart, labels)
        finish(
            figure,
            found,
            x_title="training tokens, both directions counted",
            reading="Lines: mean over seeds; bands: lowest to highest seed.",
        )
    return figure


def gap_figure(gaps: dict[tuple[str, str], tuple[Seeded, Seeded]]) -> Figure:
    """The end gap by language as dots with intervals, seeds as ticks, the margin as a band."""
    rows = [(f"{LANGUAGES.get(lang, lang)}, {NAMES[arm]}", share) for (arm, lang), (_, share) in gaps.items()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.6 + 0.42 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvspan(-100 * MARGIN, 100 * MARGIN, color=NEUTRAL, alpha=0.12, linewidth=0)
        axes.axvline(0, color=NEUTRAL, linewidth=0.8)
        for place, (_, share) in enumerate(rows):
            effect = share.effect
            if effect.low is not None and effect.high is not None:
                axes.plot([100 * effect.low, 100 * effect.high], [place] * 2, color="#0072B2", linewidth=2)
            axes.plot(100 * effect.value, place, "o", color="#0072B2", markersize=6)
            axes.plot(
                [100 * v for v in share.by_seed.values()],
                [place] * share.seeds,
                "|",
                color="black",
                markersize=9,
            )
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.set_xlabel("reverse minus forward loss, % of the forward loss (below 0: reverse is easier)")
        axes.set_title(
            f"Grey: within {MARGIN:.0%}. Dots: mean, with 95% intervals over documents. Ticks: seeds.",
            loc="left", fontsize=8, color=NEUTRAL,
        )  # fmt: skip
    return figure


def _line(rows: pd.DataFrame, column: str) -> Line:
    table = rows.pivot_table(index="seed", columns="tokens", values=column).dropna(axis=1)
    return Line.over(table.columns.to_numpy(float), table.to_numpy(float))


def _seeds_text(validations: pd.DataFrame, sides: dict[Direction, str]) -> str:
    seeds = validations[validations["arm"] == f"{sides[Direction.FORWARD]}_en"]["seed"].nunique()
    return f"{seeds} seed{'s' if seeds > 1 else ''}, validation documents of the training corpus"


def _coincide(gaps: dict[tuple[str, str], tuple[Seeded, Seeded]]) -> Finding:
    verdicts = {key: coincides(share) for key, (_, share) in gaps.items()}
    apart = [key for key, verdict in verdicts.items() if verdict is not Verdict.REPRODUCED]
    shares = {key: share.effect for key, (_, share) in gaps.items()}
    widest = max(shares, key=lambda key: abs(shares[key].value))
    largest = short(shares[widest], "+.2%")
    languages = {language for _, language in gaps}
    inside = len(gaps) - len(apart)
    return Finding(
        claim="Trained from scratch on both directions, the two loss curves converge almost identically, in every language.",
        place="section on training from scratch",
        verdict=worst(list(verdicts.values())),
        measured=(
            f"{inside} of {len(gaps)} mixed arms in {len(languages)} languages end within {MARGIN:.0%} "
            f"(interval and every seed); the widest, {_name(widest)}, is {largest} of the forward loss apart."
        ),
    )


def _price(compared: dict[tuple[str, Direction], tuple[Seeded, Seeded]]) -> Finding:
    """Ours: what reading both ways costs each direction."""
    p_values = holm([found.effect.p for found, _ in compared.values()])
    parts = [
        f"{NAMES[arm]}, {direction}: {short(found.effect)} nats, {short(share.effect, '+.1%')} (p after Holm {p:.2g})"
        for ((arm, direction), (found, share)), p in zip(compared.items(), p_values, strict=True)
    ]
    same = [coincides(share) for (arm, _), (_, share) in compared.items() if arm == DOUBLE]
    return Finding(
        claim=f"At equal tokens per direction, reading both ways costs each direction less than {MARGIN:.0%} of its loss.",
        place="ours",
        verdict=worst(same) if same else Verdict.UNCLEAR,
        measured="Mixed minus specialist: " + "; ".join(parts) + ".",
    )


def _name(key: tuple[str, str]) -> str:
    return f"{LANGUAGES.get(key[1], key[1])} ({NAMES[key[0]]})"


def _losses_markdown(documents: pd.DataFrame, runs: pd.DataFrame) -> str:
    tokens = dict(zip(runs["arm"], runs["tokens"], strict=True))
    header = ["run", "language", "training tokens", "forward loss", "reverse loss"]
    rows = [
        [NAMES[str(arm)], LANGUAGES.get(str(language), str(language)), f"{tokens.get(f'{arm}_{language}', 0):,}",
         cell(seeded(part, "nll_forward"), ".3f"), cell(seeded(part, "nll_reverse"), ".3f")]
        for (arm, language), part in documents.groupby(["arm", "language"]) if arm in NAMES
    ]  # fmt: skip
    return "\n\n".join(["Losses of held-out documents, nats per token.", markdown(header, rows), NOTES])


def _gap_markdown(gaps: dict[tuple[str, str], tuple[Seeded, Seeded]]) -> str:
    header = ["mixed run", "reverse - forward, nats", "as a share of forward", f"within {MARGIN:.0%}"]
    rows = [
        [_name(key), cell(nats), cell(share, "+.2%"), coincides(share).value]
        for key, (nats, share) in gaps.items()
    ]
    return "\n\n".join(
        ["How far the two directions of a mixed model end apart.", markdown(header, rows), NOTES]
    )


def _comparisons_markdown(compared: dict[tuple[str, Direction], tuple[Seeded, Seeded]]) -> str:
    p_values = holm([found.effect.p for found, _ in compared.values()])
    header = [
        "mixed run, English",
        "direction",
        "mixed - specialist, nats",
        "as a share of the specialist's",
        "p after Holm",
    ]
    rows = [
        [NAMES[arm], direction.value, cell(found), cell(share, "+.2%"), f"{p:.2g}"]
        for ((arm, direction), (found, share)), p in zip(compared.items(), p_values, strict=True)
    ]
    about = "What a mixed model loses against a model of one direction; above 0 the specialist is better."
    return "\n\n".join([about, markdown(header, rows), NOTES])


STUDY = Study(
    name="02_from_scratch",
    title="From scratch on both directions: do the two loss curves coincide?",
    render=render,
    needs=("runs.csv", "validations.csv", "documents.parquet"),
)
