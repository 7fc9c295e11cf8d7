"""04: where do the losses by position cross, and what remains of that when the same tokens are compared?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from revlm.measures.crossing import ALL, FIRST, rule_text
from revlm.statistics.correlations import correlation
from revlm.statistics.effect import FEWEST_SEEDS, Effect
from revlm.studies.arms import MARKOV, PAIR, READERS
from revlm.studies.crossings import crosses, crosses_nowhere, domains_of, rule_of
from revlm.studies.effects import corrected, pick, seeded, with_s
from revlm.studies.intersection_pictures import pair_figure, same_tokens_figure
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import Verdict, within

WINDOWS = {ALL: "all windows", FIRST: "windows that begin their document"}
# In more domains than this share, and it is said of domains.
MOST = 2 / 3
# Nats per token, about 1% of the loss: a difference within it counts as none.
MARGIN = 0.05


def render(records: Records) -> Results:
    """Tables, pictures and findings."""
    curves, crossings = records["curves.parquet"], records["crossings.csv"]
    smoothing, hold = rule_of(crossings)
    notes = (
        "Each seed: position [95% interval over documents]; `never` is censored at the window. A crossing is "
        f"{rule_text(smoothing, hold)}. Curves are weighted by tokens."
    )
    # Of the null control only the crossings are shown.
    null, crossings = pick(crossings, arm=MARKOV), crossings[crossings["arm"] != MARKOV]
    documents = with_s(records["documents.parquet"])
    documents = documents[documents["arm"] != MARKOV]
    contexts = comparable(records["contexts.parquet"])
    same = {arm: by_context(pick(contexts, arm=arm)) for arm in READERS if (contexts["arm"] == arm).any()}
    findings = [_crossing(crossings), _agrees(pick(crossings, windows=ALL), documents)]
    findings += [_same_tokens(arm, found) for arm, found in same.items()]
    if len(null):
        findings.append(_null(null))
    return Results(
        findings=findings,
        tables={
            "crossings": _crossings(crossings, notes),
            "s": _s(documents),
            "contexts": _contexts(same),
            "null": _null_markdown(null, notes),
        },
        figures={
            **{
                "curves" if windows == ALL else f"curves_{windows}": (
                    pair_figure(pick(curves, arm=PAIR, windows=windows), pick(crossings, arm=PAIR, windows=windows), smoothing),
                    f"Loss by position and domain, forward and reverse, over {name}.",
                )
                for windows, name in WINDOWS.items()
            },
            "contexts": (same_tokens_figure(contexts, same), "The same tokens given their left and their right context."),
        },
    )  # fmt: skip


def comparable(contexts: pd.DataFrame) -> pd.DataFrame:
    """Contexts at every second length, where the same tokens are measured.

    Lengths between lie halfway between the windows' steps and are measured on other tokens.
    """
    lengths = sorted(set(contexts["context"]))[::2]
    return contexts[contexts["context"].isin(lengths)]


def by_context(contexts: pd.DataFrame) -> dict[int, Effect]:
    """Forward minus reverse loss of the same tokens, by context length, in nats per token."""
    return {int(k): seeded(rows, "s") for k, rows in with_s(contexts).groupby("context")}


def crossing_ranks(crossings: pd.DataFrame) -> pd.Series:
    """Mean position by domain over seeds; never counts as the window, beyond all positions."""
    placed = crossings.assign(place=crossings["position"].fillna(crossings["window"]))
    means: pd.Series = placed[placed["domain"] != ALL].groupby("domain")["place"].mean()
    return means


def _crossing(crossings: pd.DataFrame) -> Finding:
    parts, shares, lacking = [], [], []
    for arm, name in READERS.items():
        always = []
        for windows in WINDOWS:
            rows = pick(crossings, arm=arm, windows=windows)
            rows = rows[rows["domain"] != ALL]
            by_domain = [found.to_dict("records") for _, found in rows.groupby("domain")]
            enough = rows["seed"].nunique() >= FEWEST_SEEDS
            always.append(sum(all(map(crosses, found)) for found in by_domain))
            nowhere = sum(all(map(crosses_nowhere, found)) for found in by_domain)
            shares.append(enough * always[-1] / len(by_domain))
            lacking.append(enough * nowhere / len(by_domain))
        parts.append(f"{name} {always[0]} over all windows, {always[1]} over documents' first windows")
    most, few = min(shares) > MOST, min(lacking) > MOST
    verdict = Verdict.REPRODUCED if most else Verdict.NOT if few else Verdict.UNCLEAR
    return Finding(
        claim="Forward and reverse loss by position cross.",
        place="section on step-by-step loss",
        verdict=verdict,
        measured=f"Of {len(by_domain)} domains, those where they cross after position 0 with every seed: {'; '.join(parts)} ({_seeds(crossings)}).",
    )


def _seeds(rows: pd.DataFrame) -> str:
    count = rows["seed"].nunique()
    return f"{count} seed{'s' if count > 1 else ''}"


def _null(crossings: pd.DataFrame) -> Finding:
    """Whether curves that are equal in truth are said to cross."""
    crossed, none, parts = [], [], []
    for windows, name in WINDOWS.items():
        found = pick(crossings, windows=windows, domain=ALL).to_dict("records")
        crossed += [crosses(row) for row in found]
        none += [crosses_nowhere(row) for row in found]
        parts.append(f"{sum(map(crosses, found))} of {len(found)} seeds over {name}")
    return Finding(
        claim="Null control: the curves of a Markov chain, one in truth, do not cross.",
        place="ours",
        verdict=Verdict.REPRODUCED if all(none) else Verdict.NOT if all(crossed) else Verdict.UNCLEAR,
        measured=f"They cross after position 0 with: {'; '.join(parts)}. {_single(crossings)}",
    )


def _single(crossings: pd.DataFrame) -> str:
    positions = pick(crossings, domain=ALL)["position"].dropna()
    if positions.empty:
        return "No seed's curves meet."
    return f"Without intervals they would seem to, at {positions.min():.0f} to {positions.max():.0f} tokens."


def _null_markdown(crossings: pd.DataFrame, notes: str) -> str:
    """A row a seed."""
    rows = [
        [
            str(seed),
            *(_position(pick(part, windows=windows, domain=ALL).iloc[0].to_dict()) for windows in WINDOWS),
        ]
        for seed, part in crossings.groupby("seed")
    ]
    about = "Where the curves of mixed models of a Markov chain cross: in truth both directions are equally easy at every position."
    return table(about, ["seed", *WINDOWS.values()], rows, notes)


def _agrees(crossings: pd.DataFrame, documents: pd.DataFrame) -> Finding:
    parts, found = [], []
    for arm, name in READERS.items():
        ranks = crossing_ranks(pick(crossings, arm=arm))
        s = documents[documents["arm"] == arm].groupby("domain")["s"].mean()
        both = pd.concat([ranks, s], axis=1, join="inner")
        if len(set(both["place"])) > 1:
            r = correlation(both["place"], both["s"])
            found.append(r)
            parts.append(f"{name}: {r.text(counts='none')} n={r.n} domains")
    sides = {r.apart for r in found}
    verdict = Verdict.NOT if 1 in sides else Verdict.UNCLEAR
    return Finding(
        claim="An earlier crossing goes with a higher S, over domains.",
        place="follows from the paper's reading of both; made of the same curves, so some of it is arithmetic",
        verdict=Verdict.REPRODUCED if sides == {-1} else verdict,
        measured="Spearman's r of crossing and mean S: " + ("; ".join(parts) or "not defined") + ".",
    )


def _same_tokens(arm: str, found: dict[int, Effect]) -> Finding:
    # Without any context there is no left and no right.
    found = {k: value for k, value in found.items() if k > 0}
    sides = [found[k].side(p) for k, p in corrected(found).items()]
    last = max(found)
    longest = found[last]
    return Finding(
        claim=f"At equal context length, a token is as easy given its left as given its right ({READERS[arm]}).",
        place="ours: the two curves at one position speak of different tokens",
        verdict=within(longest, MARGIN),
        measured=(
            f"Loss given the left minus loss given the right, at {last} tokens: {longest.text(counts='sentence')} nats ({MARGIN} or less would "
            f"do); {_sides(sides)}."
        ),
    )


def _sides(sides: list[int]) -> str:
    if not any(sides):
        return f"no difference at any of {len(sides)} lengths"
    return f"of {len(sides)} lengths the right tells more at {sides.count(1)}, the left at {sides.count(-1)}"


def _crossings(crossings: pd.DataFrame, notes: str) -> str:
    columns = [(arm, windows) for arm in READERS for windows in WINDOWS]
    rows = [
        [
            "all domains" if domain == ALL else domain,
            *(
                ", ".join(
                    _position(row)
                    for row in pick(crossings, arm=arm, windows=windows, domain=domain).to_dict("records")
                )
                for arm, windows in columns
            ),
        ]
        for domain in domains_of(crossings)
    ]
    resamples = ", ".join(f"{count:,}" for count in sorted(set(crossings["resamples"])))
    counted = f"Intervals and shares of crossings: {resamples} resamples of documents."
    header = ["text", *(f"{READERS[arm]}, {WINDOWS[windows]}" for arm, windows in columns)]
    return table("Where the curves cross, by seed.", header, rows, f"{notes} {counted}")


def _s(documents: pd.DataFrame) -> str:
    lines = []
    for domain in domains_of(documents):
        part = documents if domain == ALL else pick(documents, domain=domain)
        read = [pick(part, arm=arm) for arm in READERS]
        cells = [seeded(rows, "s", weights=None).text() if len(rows) else "" for rows in read]
        lines.append(["all domains" if domain == ALL else domain, *cells])
    about = "Mean S (forward minus reverse loss; above 0 reverse is easier), nats per token, each document counting alike."
    return table(about, ["text", *READERS.values()], lines)


def _position(row: Mapping[str, Any]) -> str:
    if np.isnan(row["position"]):
        return f"never (nor in {row['share_never']:.0%} of resamples, n={row['num_documents']})"
    high = "never" if np.isnan(row["high"]) else f"{row['high']:.0f}"
    never = f"never in {row['share_never']:.0%} of resamples, " if row["share_never"] else ""
    return f"{row['position']:.0f} [{row['low']:.0f}, {high}] ({never}n={row['num_documents']})"


def _contexts(same: dict[str, dict[int, Effect]]) -> str:
    rows = [
        [READERS[arm], str(k), found[k].text(), f"{p:.2g}"]
        for arm, found in same.items()
        for k, p in corrected(found).items()
    ]
    about = "Loss of a token given k tokens on its left, minus its loss given k on its right; nats per token."
    return table(about, ["models", "k", "left - right", "p after Holm"], rows)


STUDY = Study(
    name="04_intersection",
    title="Where do the losses by position cross, and what remains at equal context?",
    render=render,
    needs=("documents.parquet", "curves.parquet", "crossings.csv", "contexts.parquet"),
)
