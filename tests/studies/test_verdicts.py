"""A verdict follows from the numbers: planted effects get the one that is true of them."""

import re

import pandas as pd
import pytest

from revlm.studies import arms, continued, from_scratch, pretrained_bias
from revlm.studies.effects import seeded, share_of, with_gap, with_s
from revlm.studies.verdicts import Verdict, costs_little, worst

from .planted import losses, runs, validations

ARMS = ("forward", "reverse", "mixed", "mixed_double")


def from_scratch_records(gap, of_seed=0.0, languages=("en", "de")):
    """Mixed models whose directions end so far apart; a forward and a reverse model beside them."""
    tables = [
        losses("from_scratch_forward_en", 5.0, 8.0),
        losses("from_scratch_reverse_en", 8.0, 5.05),
        losses("from_scratch_mixed_double_en", 5.01, 5.03),
    ]
    for language in languages:
        arm = f"from_scratch_mixed_{language}"
        tables.append(losses(arm, 5.5, 5.5 + gap, language=language, of_seed=of_seed))
    arms = [f"from_scratch_{arm}_en" for arm in ARMS]
    return {
        "documents.parquet": pd.concat(tables, ignore_index=True),
        "runs.csv": runs(*arms),
        "validations.csv": validations(*arms),
    }


@pytest.mark.parametrize(
    ("gap", "of_seed", "verdict"),
    [
        (0.005, 0.0, Verdict.REPRODUCED),
        (0.2, 0.0, Verdict.NOT),
        (0.005, 0.1, Verdict.UNCLEAR),
        (-0.2, 0.0, Verdict.NOT),
    ],
    ids=["close", "apart", "one seed apart", "apart the other way"],
)
def test_curves_coincide_when_interval_and_every_seed_do(gap, of_seed, verdict):
    """Within 1% of the loss, in every language and with every seed; else not, or unclear."""
    results = from_scratch.render(from_scratch_records(gap, of_seed))
    assert results.findings[0].verdict is verdict


def test_the_arrow_is_found_where_it_is_planted():
    """The reverse model ends 1% above the forward model."""
    arrow = from_scratch.render(from_scratch_records(0.0)).findings[1]
    assert arrow.verdict is Verdict.REPRODUCED
    assert "+1.0" in arrow.measured


def test_the_price_of_reading_both_ways_is_paired():
    """Documents differ by half a nat; the paired difference of 0.01 has an interval far narrower."""
    documents = from_scratch.any_language(from_scratch_records(0.0)["documents.parquet"])
    english = documents[documents["language"] == "en"]
    nats, _ = from_scratch.comparisons(english)[arms.DOUBLE, "forward"]
    assert nats.value == pytest.approx(0.01, abs=0.004)
    assert nats.high - nats.low < 0.01
    assert (nats.n, len(nats.seeds)) == (200, 3)


def continued_records(reverse):
    """A forward model that goes on both ways and ends so high in reverse."""
    tables = [
        losses("from_scratch_forward_en", 5.0, 8.0),
        losses("from_scratch_mixed_en", 5.6, 5.6),
        losses("from_scratch_mixed_double_en", 5.2, 5.2),
        losses("continued_forward_en", 4.8, 8.1),
        losses("continued_mixed_en", 5.0, reverse),
        losses("continued_reverse_en", 6.0, 5.1),
        losses("SmolLM2", 3.0, 7.0, seeds=(0,), name=continued.PUBLIC_SET),
        losses(arms.PUBLIC_CONTINUED, 3.2, 6.0, seeds=(0,), name=continued.PUBLIC_SET),
    ]
    return {
        "runs.csv": runs("continued_mixed_en", arms.PUBLIC_CONTINUED),
        "documents.parquet": pd.concat(tables, ignore_index=True),
        "validations.csv": validations("continued_forward_en", "continued_mixed_en", "continued_reverse_en"),
    }


def test_a_gain_is_no_price():
    """A mixed model that beats its specialist costs nothing, however far."""
    rows = losses("arm", -0.1, 0.0, noise=0.001).assign(difference=-0.1, loss=5.0)
    assert costs_little(share_of(rows, "difference", "loss"), 0.01) is Verdict.REPRODUCED


def test_seeds_that_disagree_and_seeds_that_are_few_give_no_verdict():
    """Documents alone never decide a claim about training."""
    wide, few = losses("arm", 5.0, 5.1, of_seed=0.5), losses("arm", 5.0, 5.5, seeds=(0, 1))
    for rows in (wide, few):
        found = seeded(with_gap(rows), "gap")
        assert found.p < 0.05
        assert found.side() == 0
    assert seeded(with_gap(losses("arm", 5.0, 5.5)), "gap").side() == 1


def test_no_lag_where_there_was_none_to_begin_with():
    """Reverse above forward after going on is no lag if it was no further above before."""
    records = continued_records(5.4)
    documents = records["documents.parquet"]
    before = documents["arm"] == "from_scratch_forward_en"
    documents.loc[before, "nll_reverse"] = documents.loc[before, "nll_forward"]
    assert continued.render(records).findings[0].verdict is Verdict.NOT


@pytest.mark.parametrize(("reverse", "verdict"), [(5.4, Verdict.REPRODUCED), (5.0, Verdict.NOT)])
def test_reverse_lags_when_it_stays_above(reverse, verdict):
    """More than 1% above the forward loss after going on both ways."""
    assert continued.render(continued_records(reverse)).findings[0].verdict is verdict


def test_what_is_shared_helps_or_hurts_by_its_sign():
    """Reverse below that of a model from scratch at equal reverse tokens: having read forward helped."""
    helped, forward = continued.render(continued_records(5.4)).findings[1:]
    assert helped.verdict is Verdict.REPRODUCED
    assert forward.verdict is Verdict.NOT


def test_a_public_model_is_told_before_and_after_on_its_own_documents():
    """Its losses have intervals, and none of them gets into the tables of our own models."""
    results = continued.render(continued_records(5.4))
    assert "+4.00 [" in results.findings[0].measured
    assert "+2.80 [" in results.findings[0].measured
    before, after = [
        line for line in results.tables["public"].splitlines() if line.startswith(("| before", "| after"))
    ]
    assert before.count("n=200, s=1") == after.count("n=200, s=1") == 3
    assert "1,000 tokens" in results.tables["public"]
    assert "SmolLM2" not in results.tables["losses"]


def test_a_pretrained_model_that_cannot_read_backwards_is_no_better_than_on_shuffled_words():
    """Reverse far above forward in every group, and above the words shuffled."""
    plain = losses("smollm2", 3.0, 7.0, seeds=(0,), name="en")
    german = losses("smollm2", 3.5, 7.2, seeds=(0,), language="de", name="de")
    clean = losses("smollm2", 3.0, 7.0, seeds=(0,), name="shuffled").assign(label="clean")
    copies = losses("smollm2", 6.5, 6.6, seeds=(0,), name="shuffled").assign(label="word_shuffle/3")
    copies["doc_id"] += "#word_shuffle/3"
    results = pretrained_bias.render({"documents.parquet": pd.concat([plain, german, clean, copies])})
    assert [finding.verdict for finding in results.findings] == [Verdict.REPRODUCED] * 2
    assert "5 of 5 domains and languages" in results.findings[0].measured


def test_a_cell_says_value_interval_documents_and_seeds():
    """Nothing that a reader needs to judge a number is left out; one seed has no range."""
    rows = losses("arm", 5.0, 5.1)
    text = seeded(rows, "nll_forward").text(".2f")
    assert re.match(r"4\.9\d \[4\.\d\d, 5\.\d\d\] ", text)
    assert "n=200, s=3: " in text
    assert "s=1)" in seeded(rows[rows["seed"] == 0], "nll_forward").text()


def test_several_verdicts_are_as_good_as_the_worst():
    """One arm that is not reproduced decides; unclear comes next."""
    assert worst([Verdict.REPRODUCED, Verdict.UNCLEAR]) is Verdict.UNCLEAR
    assert worst([Verdict.UNCLEAR, Verdict.NOT]) is Verdict.NOT
    assert worst([Verdict.REPRODUCED]) is Verdict.REPRODUCED


def test_s_is_above_zero_where_reverse_is_easier_and_the_gap_is_its_negative():
    """One sign of S in all studies; pages on how far reverse lies above forward say the gap."""
    rows = pd.DataFrame({"nll_forward": [5.0, 4.0], "nll_reverse": [4.5, 4.25]})
    assert list(with_s(rows)["s"]) == [0.5, -0.25]
    assert list(with_gap(rows)["gap"]) == [-0.5, 0.25]
