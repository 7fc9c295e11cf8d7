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
from revlm.studies.effects import by_arm, holm_cells, holm_sides, pick, seeded, with_s
from revlm.studies.intersection_pictures import pair_figure, same_tokens_figure
from revlm.studies.records import Records
from revlm.studies.study import Finding, Results, Study, table
from revlm.studies.verdicts import decided, within

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
    same = {arm: by_context(part) for arm, part in by_arm(contexts, READERS).items()}
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
    seeds = crossings["seed"].nunique()
    return Finding(
        claim="Forward and reverse loss by position cross.",
        place="section on step-by-step loss",
        verdict=decided(holds=min(shares) > MOST, fails=min(lacking) > MOST),
        measured=(
            f"Of {len(by_domain)} domains, those where they cross after position 0 with every seed: {'; '.join(parts)} "
            f"({seeds} seed{'s' if seeds > 1 else ''})."
        ),
    )


def _null(crossings: pd.DataFrame) -> Finding:
    """Whether curves that are equal in truth are said to cross."""
    rows, parts = [], []
    for windows, name in WINDOWS.items():
        found = pick(crossings, windows=windows, domain=ALL).to_dict("records")
        rows += found
        parts.append(f"{sum(map(crosses, found))} of {len(found)} seeds over {name}")
    return Finding(
        claim="Null control: the curves of a Markov chain, one in truth, do not cross.",
        verdict=decided(holds=all(map(crosses_nowhere, rows)), fails=all(map(crosses, rows))),
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
        [str(seed), *(_positions(pick(part, windows=windows, domain=ALL)) for windows in WINDOWS)]
        for seed, part in crossings.groupby("seed")
    ]
    about = "Where the curves of mixed models of a Markov chain cross: in truth both directions are equally easy at every position."
    return table(about, ["seed", *WINDOWS.values()], rows, notes)


def _agrees(crossings: pd.DataFrame, documents: pd.DataFrame) -> Finding:
    parts, found = [], []
    for arm, name in READERS.items():
        # A seed whose curves never cross counts as the window, beyond all positions.
        placed = pick(crossings, arm=arm).assign(place=lambda rows: rows["position"].fillna(rows["window"]))
        place = placed[placed["domain"] != ALL].groupby("domain")["place"].mean()
        s = pick(documents, arm=arm).groupby("domain")["s"].mean()
        both = pd.concat([place, s], axis=1, join="inner")
        if len(set(both["place"])) > 1:
            r = correlation(both["place"], both["s"])
            found.append(r)
            parts.append(f"{name}: {r.text(counts='none')} n={r.n} domains")
    sides = {r.apart for r in found}
    return Finding(
        claim="An earlier crossing goes with a higher S, over domains.",
        place="follows from the paper's reading of both; made of the same curves, so some of it is arithmetic",
        verdict=decided(holds=sides == {-1}, fails=1 in sides),
        measured="Spearman's r of crossing and mean S: " + ("; ".join(parts) or "not defined") + ".",
    )


def _same_tokens(arm: str, found: dict[int, Effect]) -> Finding:
    # Without any context there is no left and no right.
    found = {k: value for k, value in found.items() if k > 0}
    sides = list(holm_sides(found).values())
    last, longest = max(found.items())
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
    rows = []
    for domain, name in domains_of(crossings).items():
        cells = [pick(crossings, arm=arm, windows=windows, domain=domain) for arm, windows in columns]
        rows.append([name, *map(_positions, cells)])
    resamples = ", ".join(f"{count:,}" for count in sorted(set(crossings["resamples"])))
    counted = f"Intervals and shares of crossings: {resamples} resamples of documents."
    header = ["text", *(f"{READERS[arm]}, {WINDOWS[windows]}" for arm, windows in columns)]
    return table("Where the curves cross, by seed.", header, rows, f"{notes} {counted}")


def _s(documents: pd.DataFrame) -> str:
    lines = []
    for domain, name in domains_of(documents).items():
        read = by_arm(documents if domain == ALL else pick(documents, domain=domain), READERS)
        cells = {arm: seeded(rows, "s", weights=None).text() for arm, rows in read.items()}
        lines.append([name, *(cells.get(arm, "") for arm in READERS)])
    about = "Mean S (forward minus reverse loss; above 0 reverse is easier), nats per token, each document counting alike."
    return table(about, ["text", *READERS.values()], lines)


def _positions(crossings: pd.DataFrame) -> str:
    return ", ".join(_position(row) for row in crossings.to_dict("records"))


def _position(row: Mapping[str, Any]) -> str:
    if np.isnan(row["position"]):
        return f"never (nor in {row['share_never']:.0%} of resamples, n={row['num_documents']})"
    high = "never" if np.isnan(row["high"]) else f"{row['high']:.0f}"
    never = f"never in {row['share_never']:.0%} of resamples, " if row["share_never"] else ""
    return f"{row['position']:.0f} [{row['low']:.0f}, {high}] ({never}n={row['num_documents']})"


def _contexts(same: dict[str, dict[int, Effect]]) -> str:
    rows = [
        [READERS[arm], str(k), *cells]
        for arm, found in same.items()
        for k, cells in holm_cells(found).items()
    ]
    about = "Loss of a token given k tokens on its left, minus its loss given k on its right; nats per token."
    return table(about, ["models", "k", "left - right", "p after Holm"], rows)


STUDY = Study(
    name="04_intersection",
    title="Where do the losses by position cross, and what remains at equal context?",
    render=render,
    needs=("documents.parquet", "curves.parquet", "crossings.csv", "contexts.parquet"),
)
