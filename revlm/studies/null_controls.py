"""S of text whose S is known beforehand, read by mixed models of that text: what a finding about S is held against."""

from __future__ import annotations

import pandas as pd

from revlm.statistics.effect import Effect
from revlm.studies.effects import loss_cells, pick, seeded, share_of, with_s
from revlm.studies.study import Finding, table
from revlm.studies.verdicts import OURS, Verdict, judged, within, worst

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


def controls(documents: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, Effect]]:
    """data= -> its documents, and their S as a share of the forward loss."""
    sets = {name: with_s(pick(documents, set=f"{SET}{name}")) for name in KNOWN}
    return {name: (rows, share_of(rows, "s", "nll_forward")) for name, rows in sets.items() if len(rows)}


def control_findings(documents: pd.DataFrame) -> list[Finding]:
    """Whether S is none where there is none, and below 0 where forward is easier; nothing without controls."""
    found = {name: share for name, (_, share) in controls(documents).items()}
    if not found:
        return []
    numbers = "; ".join(
        f"{KNOWN[name][0]} {share.text('+.2%', counts='sentence')}" for name, share in found.items()
    )
    return [
        Finding(
            claim=f"Null controls: S is within {MARGIN:.0%} of the loss where it is 0 by construction, and below 0 where forward is easier.",
            verdict=worst([_judge(name, share) for name, share in found.items()]),
            measured=f"S as a share of the forward loss: {numbers}.",
        )
    ]


def controls_markdown(documents: pd.DataFrame) -> str:
    """A row a control."""
    rows = []
    for name, (part, share) in controls(documents).items():
        s, outcome = seeded(part, "s").text(), OURS[_judge(name, share)]
        rows.append([*KNOWN[name], *loss_cells(part), s, share.text("+.2%"), outcome])
    of_s = ["S, nats per token", "S, share of the forward loss", "as it should be"]
    header = ["text", "S by construction", "forward loss", "reverse loss", *of_s]
    about = "Mixed models of text whose S is known beforehand, on documents held out."
    return table(about, header, rows)


def _judge(name: str, share: Effect) -> Verdict:
    return judged(-share.side()) if name == "arrow" else within(share, MARGIN)
