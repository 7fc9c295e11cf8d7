"""S of text whose S is known beforehand, read by mixed models of that text: what a finding about S is held against."""

from __future__ import annotations

import pandas as pd

from revlm.markup import markdown
from revlm.studies.study import (
    NOTES,
    OURS,
    Finding,
    Seeded,
    Verdict,
    cell,
    judged,
    said,
    seeded,
    share_of,
    within,
    worst,
)

# Sets of scores: control_<data>, of models of that data.
SET = "control_"
# A share of the loss: as much as a mixed model's two losses may differ and still be said to coincide.
MARGIN = 0.01
# data= -> what it is in words, what its S is known to be.
KNOWN = {
    "markov": ("Markov chain of frequent words", "0"),
    "shuffled_words": ("documents with their words shuffled", "0, but for the insides of words"),
    "arrow": ("code that is learned sooner forward", "below 0, while it is being learned"),
}


def shares(documents: pd.DataFrame) -> dict[str, Seeded]:
    """data= -> S as a share of the forward loss."""
    found = {}
    for name in KNOWN:
        rows = documents[documents["set"] == f"{SET}{name}"]
        if len(rows):
            found[name] = share_of(rows.assign(s=_s(rows)), "s", "nll_forward")
    return found


def control_findings(documents: pd.DataFrame) -> list[Finding]:
    """Whether S is none where there is none, and below 0 where forward is easier; nothing without controls."""
    found = shares(documents)
    if not found:
        return []
    numbers = "; ".join(f"{KNOWN[name][0]} {said(share, '+.2%')}" for name, share in found.items())
    return [
        Finding(
            claim=f"Null controls: S is within {MARGIN:.0%} of the loss where it is 0 by construction, and below 0 where forward is easier.",
            place="ours",
            verdict=worst([_judge(name, share) for name, share in found.items()]),
            measured=f"S as a share of the forward loss: {numbers}.",
        )
    ]


def controls_markdown(documents: pd.DataFrame) -> str:
    """A row a control."""
    found = shares(documents)
    rows = []
    for name, share in found.items():
        part = documents[documents["set"] == f"{SET}{name}"]
        losses = [cell(seeded(part, loss), ".3f") for loss in ("nll_forward", "nll_reverse")]
        s = cell(seeded(part.assign(s=_s(part)), "s"))
        rows.append(
            [KNOWN[name][0], KNOWN[name][1], *losses, s, cell(share, "+.2%"), OURS[_judge(name, share)]]
        )
    header = [
        "text",
        "S by construction",
        "forward loss",
        "reverse loss",
        "S, nats per token",
        "S, share of the forward loss",
        "as it should be",
    ]
    about = "Mixed models of text whose S is known beforehand, on documents held out."
    return "\n\n".join([about, markdown(header, rows), NOTES])


def _judge(name: str, share: Seeded) -> Verdict:
    return judged(-share.side()) if name == "arrow" else within(share, MARGIN)


def _s(rows: pd.DataFrame) -> pd.Series:
    s: pd.Series = rows["nll_forward"] - rows["nll_reverse"]
    return s
