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
from revlm.studies import quality_measures as measures
from revlm.studies.arms import DOUBLE_EN
from revlm.studies.arms import READERS_BRIEFLY as MODELS
from revlm.studies.effects import by_arm, holm_sides, pick
from revlm.studies.null_controls import control_findings, controls_markdown
from revlm.studies.pictures import NOTE, draw_effect
from revlm.studies.quality_measures import BETTER, KINDS, LEVELS, SETS
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import decided, worst

# The measures of the paper, shown for every arm; the others are shown for the first.
COLOURS_OF = {"s": "#D55E00", "crossing": "#CC79A7"}
CLAIMS = {
    "s": "High-S text is better text: S falls when a text is damaged.",
    "crossing": "An earlier crossing marks better text: it comes later when a text is damaged.",
}
CELL_NOTES = (
    "Cells: chance that the better text has the better value, ties counting half [95% interval over documents]; "
    "0.5 is a coin toss, below it the measure points the wrong way. n documents, s seeds: lowest to highest of them."
)
PARTIAL_NOTES = (
    "Cells: correlation [95% interval] (n documents or pairs, s seeds: lowest to highest of them). Intervals resample documents "
    f"{RESAMPLES:,} times, all copies of one and both sides of a pair together, and rank each resample anew. Values are means "
    "over seeds, which takes noise off them: a correlation may lie outside of the seeds' range. Pairs without their other side count."
)
# arm -> (kind, level, measure) -> chance that the clean text has the better value.
Wins = Mapping[str, Mapping[tuple[str, int, str], Effect]]
# arm -> kind -> the best usual measure, and how much more often S is right.
Compared = Mapping[str, Mapping[str, tuple[str, Effect]]]


def render(records: Records) -> Results:
    """Tables, pictures and findings."""
    documents = measures.with_measures(records["documents.parquet"])
    labelled = documents[documents["set"].str.startswith("labelled")]
    ladders = by_arm(documents[documents["set"].str.startswith("ladder")], MODELS)
    wins = {arm: measures.ladder_wins(ladder) for arm, ladder in ladders.items()}
    compared = {arm: measures.beyond(ladder) for arm, ladder in ladders.items()}
    areas = measures.set_areas(labelled)
    about = "How well each measure tells clean text from damaged text, by kind and level."
    return Results(
        findings=[
            *(_ladder(wins, measure, claim) for measure, claim in CLAIMS.items()),
            *_labelled(areas),
            _beyond(compared),
            *control_findings(documents),
        ],
        tables={
            "ladder": _ladder_markdown(wins),
            "domains": _domains_markdown(ladders),
            "labelled": _labelled_markdown(areas),
            "partial": _partial_markdown(ladders, labelled),
            "beyond": _beyond_markdown(compared),
            "controls": controls_markdown(documents),
        },
        figures={"ladder": (ladder_figure(wins), about)},
    )


def ladder_figure(wins: Wins) -> Figure:
    """A panel a kind of damage, a row a measure: both arms in S and crossing, one elsewhere."""
    shown = _columns(wins)
    seeds = max((len(effect.seeds) for found in wins.values() for effect in found.values()), default=0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.4 * len(KINDS) + 1.6, 0.36 * len(shown) + 1.3), layout="constrained")
        grid = figure.subplots(1, len(KINDS), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (kind, title) in zip(grid, KINDS.items(), strict=True):
            axes.axvline(0.5, color=NEUTRAL, linewidth=0.8)
            for row, (arm, measure) in enumerate(shown):
                colour = COLOURS_OF.get(measure, "#0072B2")
                *lesser, worst_level = (wins[arm].get((kind, level, measure)) for level in LEVELS)
                for effect in filter(None, lesser):
                    axes.plot(effect.value, row, "o", color=colour, markersize=4, alpha=0.3)
                if worst_level:
                    draw_effect(axes, worst_level, row, colour)
            axes.set_title(title, fontsize=9, fontweight="bold", loc="left")
            axes.set_xlim(-0.04, 1.04)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        names = [
            BETTER[measure][0] + (f" ({MODELS[arm]})" if measure in COLOURS_OF else "")
            for arm, measure in shown
        ]
        grid[0].set_yticks(range(len(shown)), names, fontsize=8)
        grid[0].invert_yaxis()
        figure.supxlabel(
            "Chance that a clean text has the better value than its damaged copy: 1 always, 0.5 a coin toss, 0 always wrong. Dots: worst "
            f"level, with 95% intervals over documents; ticks: {seeds} seeds; pale: the two lesser levels.",
            **NOTE,
        )
    return figure


def _columns(wins: Wins) -> list[tuple[str, str]]:
    """(arm, measure) in the order of rows in the picture and of columns in the table."""
    of_all = [(arm, measure) for measure in COLOURS_OF for arm in wins]
    return of_all + [(next(iter(wins)), measure) for measure in BETTER if measure not in COLOURS_OF]


def _told(found: Mapping[str, Effect]) -> tuple[int, int]:
    """How many point the right way and how many the wrong way, after Holm and over seeds."""
    sides = list(holm_sides(found).values())
    return sides.count(1), sides.count(-1)


def _ladder(wins: Wins, measure: str, claim: str) -> Finding:
    parts, verdicts = [], []
    for arm, found in wins.items():
        keys = {title: (kind, LEVELS[-1], measure) for kind, title in KINDS.items()}
        worst_damage = {title: found[key] for title, key in keys.items() if key in found}
        right, wrong = _told(worst_damage)
        verdicts.append(decided(holds=right == len(KINDS), fails=wrong > 0))
        parts.append(
            f"{MODELS[arm].capitalize()}: above it for {right} of {len(KINDS)} kinds, below for {wrong}, {_from_to(worst_damage, '.2f')}"
        )
    return Finding(
        claim=claim,
        place="section on text quality (ladder of damage: ours)",
        verdict=worst(verdicts),
        measured=f"Chance that a clean text has the better value than its copy (0.5: a coin toss). {'. '.join(parts)}.",
    )


def _from_to(found: Mapping[str, Effect], form: str) -> str:
    """The lowest and the highest of several effects, by name, with how much they rest on."""
    low, high = (end(found, key=lambda name: found[name].value) for end in (min, max))
    counted = ", ".join(f"n={found[name].n:,}" for name in dict.fromkeys((low, high)))
    return (
        f"from {found[low].text(form, counts='none')} ({low}) to {found[high].text(form, counts='none')} ({high}; {counted}, "
        f"{len(found[low].seeds)} seeds)"
    )


def _labelled(areas: Mapping[tuple[str, str], Effect]) -> list[Finding]:
    found = {name: areas[name, "s"] for name in SETS if (name, "s") in areas}
    if not found:
        return []
    right, wrong = _told(found)
    numbers = "; ".join(
        f"{SETS[name][0]} above {SETS[name][1]} {v.text('.2f', counts='none')} (n={v.n:,}, {len(v.seeds)} seeds)"
        for name, v in found.items()
    )
    return [
        Finding(
            claim="S is higher for text that people label as better.",
            place="asked of the paper: quality labels",
            verdict=decided(holds=right == len(found), fails=wrong > 0),
            measured=f"Chance that the better text has the higher S (0.5: a coin toss): {numbers}.",
        )
    ]


def _beyond(compared: Compared) -> Finding:
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
        verdict=decided(holds=better, fails=worse),
        measured=f"How much more often S is right than the usual measure that is best there: {'; '.join(parts)}.",
    )


def _beyond_markdown(compared: Compared) -> str:
    rows = [
        [title, MODELS[arm], _short(found[kind][0]), found[kind][1].text("+.2f")]
        for kind, title in KINDS.items()
        for arm, found in compared.items()
        if kind in found
    ]
    about = (
        "How much more often S tells a clean text from its copy at the worst level than the usual measure that is best there, each "
        "read in the direction that serves it."
    )
    return table(about, ["damage", "models", "best usual measure", "S minus it"], rows)


def _short(measure: str) -> str:
    """Without which end of it is better."""
    return BETTER[measure][0].split(",")[0]


def _cell(found: Effect | None) -> str:
    return "" if found is None else found.text(".2f")


def _ladder_markdown(wins: Wins) -> str:
    columns = _columns(wins)
    names = [
        f"{_short(measure)}, {MODELS[arm]}" if measure in COLOURS_OF else BETTER[measure][0]
        for arm, measure in columns
    ]
    rows = [
        [title, str(level), *(_cell(wins[arm].get((kind, level, measure))) for arm, measure in columns)]
        for kind, title in KINDS.items()
        for level in LEVELS
    ]
    return table("Clean text against its damaged copies.", ["damage", "level", *names], rows, CELL_NOTES)


def _domains_markdown(ladders: Mapping[str, pd.DataFrame]) -> str:
    rows = []
    for domain in sorted({domain for ladder in ladders.values() for domain in ladder["domain"]}):
        for arm, ladder in ladders.items():
            here = pick(ladder, domain=domain)
            wins = [measures.against_clean(here, kind, LEVELS[-1], "s") for kind in KINDS]
            cells = [_cell(measures.chance(part)) if len(part) else "" for part in wins]
            rows.append([domain, MODELS[arm], *cells])
    about = "S by domain: clean text against its copies at the worst level."
    return table(about, ["domain", "models", *KINDS.values()], rows, CELL_NOTES)


def _labelled_markdown(areas: Mapping[tuple[str, str], Effect]) -> str:
    rows = [
        [name, f"{good} above {bad}", *(_cell(areas.get((name, measure))) for measure in BETTER)]
        for name, (good, bad) in SETS.items()
        if (name, "s") in areas
    ]
    header = ["set", "labels", *(title for title, _ in BETTER.values())]
    about = "Labelled sets, mixed model: inside of pairs (n pairs), and for sms over all pairs of documents (area under the ROC curve)."
    return table(about, header, rows, CELL_NOTES)


def _partial_markdown(ladders: Mapping[str, pd.DataFrame], labelled: pd.DataFrame) -> str:
    rows = []
    for arm, ladder in ladders.items():
        for kind, title in KINDS.items():
            some = ladder[ladder["kind"].isin([measures.CLEAN, kind])]
            if len(some):
                graded = some.assign(quality=-some["level"], cluster=some["original"])
                rows.append([f"{title} (level 0 to 3)", MODELS[arm], *_correlations(graded)])
    for name, (good, _) in SETS.items():
        some = pick(labelled, domain=name)
        if len(some):
            cluster = measures.pair_of(some) if name in measures.PAIRED else some["doc_id"]
            graded = some.assign(quality=(some["label"] == good).astype(float), cluster=cluster)
            rows.append([name, MODELS[DOUBLE_EN], *_correlations(graded)])
    about = (
        "Rank correlation of S with quality (fewer levels of damage, or the better label): plain, and given forward loss, "
        "tokens, compression, type-token ratio and repeated 3-grams."
    )
    return table(about, ["text", "models", "plain", "given the usual measures"], rows, PARTIAL_NOTES)


def _correlations(rows: pd.DataFrame) -> list[str]:
    """Of measures averaged over seeds, copies of a document drawn together; and of each seed."""
    mean = rows.groupby(["doc_id", "cluster"])[["s", *measures.CONTROLS, "quality"]].mean().reset_index()
    cells = []
    for controls in ([], list(measures.CONTROLS)):
        seeds = {
            int(seed): partial_correlation(part["s"], part["quality"], part[controls].to_numpy().T).value
            for seed, part in rows.groupby("seed")
        }
        effect = partial_rank_effect(mean["s"], mean["quality"], mean[controls].to_numpy().T, mean["cluster"])
        cells.append(replace(effect, seeds=seeds).text())
    return cells


STUDY = Study(
    name="05_quality",
    title="Do S and the intersection tell better text from worse?",
    render=render,
    needs=("documents.parquet",),
)
