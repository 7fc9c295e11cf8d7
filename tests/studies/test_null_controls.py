"""Null controls: an S that is none by construction must be found to be none, and a known arrow must be found."""

import pandas as pd
import pytest

from revlm.studies.null_controls import control_findings, controls_markdown
from revlm.studies.verdicts import Verdict

from .planted import losses


def controls(markov=0.0, arrow=-0.3):
    """Documents whose S is planted; a loss of 5 nats makes 0.05 nats its hundredth part."""
    planted = {"markov": markov, "shuffled_words": 0.0, "arrow": arrow}
    return pd.concat(
        [
            losses(f"from_scratch_mixed_{name}", 5.0 + s, 5.0, name=f"control_{name}")
            for name, s in planted.items()
        ],
        ignore_index=True,
    )


@pytest.mark.parametrize(
    ("markov", "arrow", "verdict"),
    [
        (0.0, -0.3, Verdict.REPRODUCED),
        (0.2, -0.3, Verdict.NOT),
        (0.05, -0.3, Verdict.UNCLEAR),
        (0.0, 0.3, Verdict.NOT),
        (0.0, 0.0, Verdict.UNCLEAR),
    ],
    ids=["as known", "S without cause", "S on the margin", "arrow the other way", "no arrow"],
)
def test_controls_are_judged_by_what_is_known_of_them(markov, arrow, verdict):
    """One control that reads otherwise than it was made is enough against all."""
    (finding,) = control_findings(controls(markov, arrow))
    assert finding.verdict is verdict


def test_every_cell_of_the_controls_says_how_much_it_rests_on():
    """Three texts, four cells of numbers each, with documents and seeds."""
    assert controls_markdown(controls()).count("(n=200, s=3: ") == 3 * 4


def test_a_study_without_controls_says_nothing_of_them():
    """Records of before, or of a part of the study."""
    assert control_findings(losses("from_scratch_mixed_en", 5.0, 5.0)) == []
