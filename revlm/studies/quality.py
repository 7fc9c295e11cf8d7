"""05: do S and the intersection tell better text from worse, beyond what the usual measures tell?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from revlm.pages.drawing import NEUTRAL, STYLE
from revlm.statistics.correlations import partial_correlation
from revlm.statistics.effect import Effect
from revlm.statistics.ranks import RESAMPLES, partial_rank_effect
from revlm.studies.arms import DOUBLE_EN
from revlm.studies.arms import READERS_BRIEFLY as MODELS
from revlm.studies.effects import corrected
from revlm.studies.null_controls import control_findings, controls_markdown
from revlm.studies.pictures import draw_effect
from revlm.studies.quality_measures import (
    BETTER,
    CLEAN,
    CONTROLS,
    KINDS,
    LEVELS,
    PAIRED,
    SETS,
    against_clean,
    beyond,
    chance,
    ladder_wins,
    pair_of,
    set_areas,
    with_measures,
)
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import Verdict

COLOURS_OF = {"s": "#D55E00", "crossing": "#CC79A7"}
CELL_NOTES = (
    "Cells: chance that the better text has the better value, ties counting half [95% interval over documents]; "
    "0.5 is a coin toss, below it the measure points the wrong way. n documents, s seeds: lowest to highest of them."
)
PARTIAL_NOTES = (
    "Cells: correlation [95% interval] (n documents or pairs, s seeds: lowest to highest of them). Intervals resample documents "
    f"{RESAMPLES:,} times, all copies of one and both sides of a pair together, and rank each resample anew. Values are means "
    "over seeds, which takes noise off them: a correlation may lie outside of the seeds' range. Pairs without their other side count."
)


def render(records: Records) -> Results:
    """Tables, pictures and findings."""
    documents = with_measures(records["documents.parquet"])
    ladder = documents[documents["set"].str.startswith("ladder")]
    labelled = documents[documents["set"].str.startswith("labelled")]
    arms = [arm for arm in MODELS if (ladder["arm"] == arm).any()]
    wins = {arm: ladder_wins(ladder[ladder["arm"] == arm]) for arm in arms}
    compared = {arm: beyond(ladder[ladder["arm"] == arm]) for arm in arms}
    areas = set_areas(labelled) if len(labelled) else {}
    return Results(
        findings=[
            _ladder(wins, "s", "High-S text is better text: S falls when a text is damaged."),
            _ladder(wins, "crossing", "An earlier crossing marks better text: it comes later when a text is damaged."),
            *_labelled(areas),
            _beyond(compared),
            *control_findings(documents),
        ],
        tables={
            "ladder": _ladder_markdown(wins),
            "domains": _domains_markdown({arm: ladder[ladder["arm"] == arm] for arm in arms}),
            "labelled": _labelled_markdown(areas),
            "partial": _partial_markdown(ladder, labelled),
            "beyond": _beyond_markdown(compared),
            "controls": controls_markdown(documents),
        },
        figures={
            "ladder": (ladder_figure(wins), "How well each measure tells clean text from damaged text, by kind and level."),
        },
    )  # fmt: skip


def ladder_figure(wins: dict[str, dict[tuple[str, int, str], Effect]]) -> Figure:
    """A panel a kind of damage, a row a measure: both arms in S and crossing, one elsewhere."""
    shown = [(arm, measure) for measure in ("s", "crossing") for arm in wins]
    shown += [(next(iter(wins)), measure) for measure in BETTER if measure not in {"s", "crossing"}]
    worst_level, lesser = LEVELS[-1], LEVELS[:-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.4 * len(KINDS) + 1.6, 0.36 * len(shown) + 1.3), layout="constrained")
        grid = figure.subplots(1, len(KINDS), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (kind, title) in zip(grid, KINDS.items(), strict=True):
            axes.axvline(0.5, color=NEUTRAL, linewidth=0.8)
            for row, (arm, measure) in enumerate(shown):
                colour = COLOURS_OF.get(measure, "#0072B2")
                for level in lesser:
                    if (kind, level, measure) in wins[arm]:
                        value = wins[arm][kind, level, measure].value
                        axes.plot(value, row, "o", color=colour, markersize=4, alpha=0.3)
                if (kind, worst_level, measure) in wins[arm]:
                    draw_effect(axes, wins[arm][kind, worst_level, measure], row, colour)
            axes.set_title(title, fontsize=9, fontweight="bold", loc="left")
            axes.set_xlim(-0.04, 1.04)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        names = [
            f"{BETTER[measure][0]}" + (f" ({MODELS[arm]})" if measure in COLOURS_OF else "")
            for arm, measure in shown
        ]
        grid[0].set_yticks(range(len(shown)), names, fontsize=8)
        grid[0].invert_yaxis()
        figure.supxlabel(
            "Chance that a clean text has the better value than its damaged copy: 1 always, 0.5 a coin toss, 0 always wrong. Dots: worst "
            f"level, with 95% intervals over documents; ticks: {max((len(v.seeds) for found in wins.values() for v in found.values()), default=0)} seeds; "
            "pale: the two lesser levels.",
            x=0.01, ha="left", fontsize=8, color=NEUTRAL,
        )  # fmt: skip
    return figure


def _told(found: Mapping[str, Effect]) -> tuple[int, int]:
    """How many point the right way and how many the wrong way, after Holm and over seeds."""
    sides = [found[name].side(p) for name, p in corrected(found).items()]
    return sides.count(1), sides.count(-1)


def _ladder(wins: dict[str, dict[tuple[str, int, str], Effect]], measure: str, claim: str) -> Finding:
    parts, verdicts = [], []
    for arm, found in wins.items():
        worst_damage = {KINDS[kind]: found[kind, 3, measure] for kind in KINDS if (kind, 3, measure) in found}
        right, wrong = _told(worst_damage)
        whole = right == len(KINDS)
        verdicts.append(Verdict.REPRODUCED if whole else Verdict.NOT if wrong else Verdict.UNCLEAR)
        parts.append(
            f"{MODELS[arm].capitalize()}: above it for {right} of {len(KINDS)} kinds, below for {wrong}, {_from_to(worst_damage, '.2f')}"
        )
    both = set(verdicts)
    verdict = verdicts[0] if len(both) == 1 else Verdict.NOT if Verdict.NOT in both else Verdict.UNCLEAR
    return Finding(
        claim=claim,
        place="section on text quality (ladder of damage: ours)",
        verdict=verdict,
        measured=f"Chance that a clean text has the better value than its copy (0.5: a coin toss). {'. '.join(parts)}.",
    )


def _from_to(found: dict[str, Effect], form: str) -> str:
    """The lowest and the highest of several effects, by name, with how much they rest on."""
    low, high = (end(found, key=lambda name: found[name].value) for end in (min, max))
    counted = ", ".join(f"n={found[name].n:,}" for name in dict.fromkeys((low, high)))
    return (
        f"from {found[low].text(form, counts='none')} ({low}) to {found[high].text(form, counts='none')} ({high}; {counted}, "
        f"{len(found[low].seeds)} seeds)"
    )


def _labelled(areas: dict[tuple[str, str], Effect]) -> list[Finding]:
    found = {name: areas[name, "s"] for name in SETS if (name, "s") in areas}
    if not found:
        return []
    right, wrong = _told(found)
    verdict = Verdict.REPRODUCED if right == len(found) else Verdict.NOT if wrong else Verdict.UNCLEAR
    numbers = "; ".join(
        f"{SETS[name][0]} above {SETS[name][1]} {v.text('.2f', counts='none')} (n={v.n:,}, {len(v.seeds)} seeds)"
        for name, v in found.items()
    )
    return [
        Finding(
            claim="S is higher for text that people label as better.",
            place="asked of the paper: quality labels",
            verdict=verdict,
            measured=f"Chance that the better text has the higher S (0.5: a coin toss): {numbers}.",
        )
    ]


def _beyond(compared: dict[str, dict[str, tuple[str, Effect]]]) -> Finding:
    parts, told = [], []
    for arm, found in compared.items():
        effects = {KINDS[kind]: effect for kind, (_, effect) in found.items()}
        told.append(_told(effects))
        parts.append(f"{MODELS[arm]}: {_from_to(effects, '+.2f')}")
    better = all(right == len(KINDS) for right, _ in told)
    worse = all(wrong == len(KINDS) for _, wrong in told)
    return Finding(
        claim="S tells damaged text better than the usual measures do.",
        place="asked of the paper: usual quality measures as baselines",
        verdict=Verdict.REPRODUCED if better else Verdict.NOT if worse else Verdict.UNCLEAR,
        measured=f"How much more often S is right than the usual measure that is best there: {'; '.join(parts)}.",
    )


def _beyond_markdown(compared: dict[str, dict[str, tuple[str, Effect]]]) -> str:
    rows = []
    for kind, title in KINDS.items():
        for arm, found in compared.items():
            if kind in found:
                usual, effect = found[kind]
                rows.append([title, MODELS[arm], BETTER[usual][0].split(",")[0], effect.text("+.2f")])
    about = (
        "How much more often S tells a clean text from its copy at the worst level than the usual measure that is best there, each "
        "read in the direction that serves it."
    )
    return table(about, ["damage", "models", "best usual measure", "S minus it"], rows)


def _cell(found: Effect | None) -> str:
    return "" if found is None else found.text(".2f")


def _ladder_markdown(wins: dict[str, dict[tuple[str, int, str], Effect]]) -> str:
    header = [
        "damage",
        "level",
        *(f"S, {MODELS[arm]}" for arm in wins),
        *(f"crossing, {MODELS[arm]}" for arm in wins),
    ]
    others = [measure for measure in BETTER if measure not in {"s", "crossing"}]
    header += [BETTER[measure][0] for measure in others]
    first = next(iter(wins.values()))
    rows = [
        [KINDS[kind], str(level), *(_cell(found.get((kind, level, measure))) for measure in ("s", "crossing") for found in wins.values()),
         *(_cell(first.get((kind, level, measure))) for measure in others)]
        for kind in KINDS for level in LEVELS
    ]  # fmt: skip
    return table("Clean text against its damaged copies.", header, rows, CELL_NOTES)


def _domains_markdown(ladders: dict[str, pd.DataFrame]) -> str:
    domains = sorted({domain for ladder in ladders.values() for domain in ladder["domain"]})
    rows = [
        [domain, MODELS[arm], *(_cell(chance(part)) if len(part) else "" for kind in KINDS
         for part in [against_clean(ladder[ladder["domain"] == domain], kind, 3, "s")])]
        for domain in domains for arm, ladder in ladders.items()
    ]  # fmt: skip
    about = "S by domain: clean text against its copies at the worst level."
    return table(about, ["domain", "models", *KINDS.values()], rows, CELL_NOTES)


def _labelled_markdown(areas: dict[tuple[str, str], Effect]) -> str:
    rows = [
        [name, f"{good} above {bad}", *(_cell(areas.get((name, measure))) for measure in BETTER)]
        for name, (good, bad) in SETS.items() if (name, "s") in areas
    ]  # fmt: skip
    header = ["set", "labels", *(title for title, _ in BETTER.values())]
    about = "Labelled sets, mixed model: inside of pairs (n pairs), and for sms over all pairs of documents (area under the ROC curve)."
    return table(about, header, rows, CELL_NOTES)


def _partial_markdown(ladder: pd.DataFrame, labelled: pd.DataFrame) -> str:
    rows = []
    for arm, models in MODELS.items():
        part = ladder[ladder["arm"] == arm]
        for kind, title in KINDS.items():
            some = part[part["kind"].isin([CLEAN, kind])]
            if len(some):
                graded = some.assign(quality=-some["level"], cluster=some["original"])
                rows.append([f"{title} (level 0 to 3)", models, *_correlations(graded)])
    for name, (good, _) in SETS.items():
        some = labelled[labelled["domain"] == name]
        if len(some):
            cluster = pair_of(some) if name in PAIRED else some["doc_id"]
            graded = some.assign(quality=(some["label"] == good).astype(float), cluster=cluster)
            rows.append([name, MODELS[DOUBLE_EN], *_correlations(graded)])
    about = (
        "Rank correlation of S with quality (fewer levels of damage, or the better label): plain, and given forward loss, "
        "tokens, compression, type-token ratio and repeated 3-grams."
    )
    header = ["text", "models", "plain", "given the usual measures"]
    return table(about, header, rows, PARTIAL_NOTES)


def _correlations(rows: pd.DataFrame) -> list[str]:
    """Of measures averaged over seeds, copies of a document drawn together; and of each seed."""
    columns = ["s", *CONTROLS, "quality"]
    mean = rows.groupby(["doc_id", "cluster"])[columns].mean().reset_index()
    cells = []
    for controls in ((), CONTROLS):
        seeds = {
            int(seed): partial_correlation(
                part["s"], part["quality"], [part[name] for name in controls]
            ).value
            for seed, part in rows.groupby("seed")
        }
        effect = partial_rank_effect(
            mean["s"], mean["quality"], [mean[name] for name in controls], mean["cluster"]
        )
        cells.append(replace(effect, seeds=seeds).text())
    return cells


STUDY = Study(
    name="05_quality",
    title="Do S and the intersection tell better text from worse?",
    render=render,
    needs=("documents.parquet",),
)
