"""Crossings, quality and selection: planted effects get the verdict that is true of them."""

import numpy as np
import pandas as pd
import pytest

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.studies import arms, intersection, quality, quality_measures, selected
from revlm.studies.crossings import rule_of
from revlm.studies.verdicts import Verdict

from .planted import losses

DOMAINS = ("a", "b", "c", "d")


def ladder(shift, arm=arms.PAIR):
    """Clean documents with S around 0.1, and copies of every kind whose S is lower by `shift` a level."""
    clean = losses(arm, 5.1, 5.0, name="ladder").assign(label="clean")
    tables = [clean]
    for kind in quality_measures.KINDS:
        for level in quality_measures.LEVELS:
            copy = losses(arm, 5.1 - shift * level, 5.0, name="ladder").assign(label=f"{kind}/{level}")
            copy["doc_id"] += f"#{kind}/{level}"
            tables.append(copy)
    return with_measures(pd.concat(tables, ignore_index=True))


def with_measures(rows):
    """The measures that need no model, without anything to tell; crossings that follow S."""
    rng = np.random.default_rng(0)
    s = rows["nll_forward"] - rows["nll_reverse"]
    return rows.assign(
        intersection=np.where(s > 0.2, None, np.round(50 - 100 * s)),
        **{
            name: rng.random(len(rows))
            for name in ("compression_ratio", "type_token_ratio", "repeated_ngrams")
        },
    )


def labelled(gap):
    """Messages and summaries whose better half has an S higher by `gap`."""
    tables = []
    for name, labels in quality_measures.SETS.items():
        for label, s in zip(labels, (gap, 0.0), strict=True):
            rows = losses(arms.DOUBLE_EN, 5.0 + s, 5.0, name="labelled").assign(domain=name, label=label)
            rows["doc_id"] = f"{name}/" + rows["doc_id"] + f"/{label}"
            tables.append(rows)
    return with_measures(pd.concat(tables, ignore_index=True))


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.02, Verdict.REPRODUCED), (0.0, Verdict.UNCLEAR), (-0.02, Verdict.NOT)]
)
def test_s_marks_quality_when_damage_lowers_it(shift, verdict):
    """Lower S in every kind of damage is the claim; no change is unclear; higher S contradicts it."""
    findings = quality.render({"documents.parquet": ladder(shift)}).findings
    assert findings[0].verdict is verdict


def test_labels_are_told_apart_by_the_area_under_the_curve():
    """A higher S of the better half is found on every set; the set's size and seeds stand in its cell."""
    records = {"documents.parquet": pd.concat([ladder(0.02), labelled(0.05)], ignore_index=True)}
    results = quality.render(records)
    found = next(finding for finding in results.findings if "label" in finding.claim)
    assert found.verdict is Verdict.REPRODUCED
    # Text messages have no pairs; the others count pairs.
    assert "n=400, s=3" in results.tables["labelled"]
    assert "n=200, s=3" in results.tables["labelled"]


def test_the_area_over_seeds_is_the_mean_of_the_seeds_areas():
    """A seed whose curves never cross says nothing of the others' positions."""
    rows = quality_measures.with_measures(labelled(0.05))
    rows = rows[rows["domain"] == "sms"].reset_index(drop=True)
    never = np.random.default_rng(1).random(len(rows)) < 0.4
    rows.loc[never, "crossing"] = quality_measures.NEVER
    found = quality_measures.set_areas(rows)["sms", "crossing"]
    assert found.value == pytest.approx(np.mean(list(found.seeds.values())))


def test_a_crossing_that_never_happens_is_later_than_all():
    """Censored, not dropped: a document whose curves never cross loses against one whose do."""
    rows = ladder(0.02)
    rows.loc[rows["label"] != "clean", "intersection"] = None
    wins = quality_measures.against_clean(quality_measures.with_measures(rows), "ocr", 1, "crossing")
    assert (wins["win"] == 1).all()


def crossings(position, never, low=1):
    return pd.DataFrame(
        [
            {"set": "x", "arm": arm, "seed": seed, "windows": windows, "domain": domain, "position": position, "low": low, "high": np.nan,
             "share_never": never, "num_documents": 50, "window": 256,
             "smoothing": 9, "hold": 8, "resamples": 200}
            for arm in arms.READERS for seed in (0, 1, 2) for windows in intersection.WINDOWS
            for domain in ("all", *DOMAINS)
        ]
    )  # fmt: skip


def contexts(difference):
    rows = losses(arms.PAIR, 5.0 + difference, 5.0)
    return pd.concat([rows.assign(context=k) for k in (0, 4, 8)], ignore_index=True)


def curves():
    return pd.DataFrame(
        [
            {"set": "x", "arm": arms.PAIR, "seed": seed, "windows": windows, "domain": domain,
             "direction": direction.value, "position": position, "nll": 8 - 0.1 * position, "count": 10}
            for windows in intersection.WINDOWS for seed in (0, 1, 2) for domain in ("all", *DOMAINS) for direction in Direction for position in range(20)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("position", "never", "verdict"),
    [(12.0, 0.0, Verdict.REPRODUCED), (np.nan, 1.0, Verdict.NOT), (12.0, 0.4, Verdict.UNCLEAR)],
    ids=["everywhere", "nowhere", "not in enough resamples"],
)
def test_curves_cross_when_almost_every_resample_does(position, never, verdict):
    """A position that two in five resamples lack is no crossing."""
    records = {
        "documents.parquet": losses(arms.PAIR, 5.0, 5.0),
        "crossings.csv": crossings(position, never),
        "curves.parquet": curves(),
        "contexts.parquet": contexts(0.0),
    }
    assert intersection.render(records).findings[0].verdict is verdict


def test_a_crossing_whose_interval_reaches_the_start_is_none():
    """Where reverse may lie below forward from the first token on, nothing is seen to cross."""
    assert intersection._crossing(crossings(12.0, 0.0)).verdict is Verdict.REPRODUCED
    assert intersection._crossing(crossings(12.0, 0.0, low=0)).verdict is Verdict.UNCLEAR


def test_pages_say_the_rule_that_their_records_were_made_by():
    """Smoothing and hold stand under tables and pictures as they stand in crossings.csv."""
    records = {
        "documents.parquet": losses(arms.PAIR, 5.0, 5.0),
        "crossings.csv": crossings(12.0, 0.0).assign(smoothing=5, hold=3),
        "curves.parquet": curves(),
        "contexts.parquet": contexts(0.0),
    }
    results = intersection.render(records)
    rule = "the first position from which the reverse curve, smoothed over 5 positions, is at or below the forward curve for 3."
    assert rule in results.tables["crossings"]
    assert rule in results.tables["null"]
    figure, _ = results.figures["curves"]
    assert "smoothed over 5 positions" in figure.get_supxlabel()


def test_crossings_by_several_rules_are_refused():
    """They do not compare, and no page could say by which rule its crossings were found."""
    found = crossings(12.0, 0.0)
    found.loc[found["seed"] == 2, "hold"] = 4
    with pytest.raises(UserError, match=r"several rules \(smoothing, hold\): \(9, 4\), \(9, 8\)"):
        rule_of(found)


def test_a_crossing_of_all_windows_alone_is_not_enough():
    """Where documents' first windows do not cross, the claim is not reproduced."""
    found = crossings(12.0, 0.0)
    first = found["windows"] == "first"
    found.loc[first, ["position", "share_never"]] = np.nan, 1.0
    finding = intersection._crossing(found)
    assert finding.verdict is Verdict.UNCLEAR
    assert "Of 4 domains" in finding.measured
    assert "4 over all windows, 0 over" in finding.measured


@pytest.mark.parametrize(
    ("position", "never", "verdict"),
    [(12.0, 0.0, Verdict.NOT), (np.nan, 1.0, Verdict.REPRODUCED), (12.0, 0.4, Verdict.UNCLEAR)],
    ids=["with every seed", "with none", "not in enough resamples"],
)
def test_crossings_of_a_null_control_are_held_against_crossings(position, never, verdict):
    """Where the curves are one in truth a crossing is an accident; its text enters no other number."""
    null = crossings(position, never).assign(arm=arms.MARKOV, domain="markov")
    null = pd.concat([null, null.assign(domain="all")]).drop_duplicates(["seed", "windows", "domain"])
    records = {
        "documents.parquet": losses(arms.PAIR, 5.0, 5.0),
        "crossings.csv": crossings(12.0, 0.0),
        "curves.parquet": curves(),
        "contexts.parquet": contexts(0.0),
    }
    alone = intersection.render(records)
    markov = {"arm": arms.MARKOV, "domain": "markov"}
    beside = intersection.render(
        records
        | {
            name: pd.concat([records[name], records[name].assign(**markov)])
            for name in ("documents.parquet", "curves.parquet")
        }
        | {"crossings.csv": pd.concat([records["crossings.csv"], null])}
    )
    assert beside.findings[-1].verdict is verdict
    assert beside.findings[:-1] == alone.findings
    assert all(beside.tables[name] == alone.tables[name] for name in alone.tables if name != "null")


@pytest.mark.parametrize(
    ("difference", "verdict"), [(0.1, Verdict.NOT), (0.05, Verdict.UNCLEAR), (0.0, Verdict.REPRODUCED)]
)
def test_a_side_that_tells_more_at_equal_context_is_found(difference, verdict):
    """A tenth of a nat lies outside of the margin, a twentieth on it, none inside."""
    found = intersection.by_context(intersection.comparable(contexts(difference)))
    assert list(found) == [0, 8]
    assert intersection._same_tokens(arms.PAIR, found).verdict is verdict


def answers(arm, share, seeds=(0, 1, 2)):
    rng = np.random.default_rng([len(arm), round(100 * share)])
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "direction": "forward", "task": "piqa", "question": str(n), "correct": rng.random() < share}
            for seed in seeds for n in range(400)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("top", "verdict"), [(0.8, Verdict.REPRODUCED), (0.5, Verdict.UNCLEAR), (0.2, Verdict.NOT)]
)
def test_selection_by_s_is_judged_against_random_text(top, verdict):
    """More right answers than the random arm, as many, or fewer."""
    arms = {"selected_random": 0.5, "selected_top_s": top, "selected_bottom_s": 0.5}
    records = {
        "answers.parquet": pd.concat([answers(arm, share) for arm, share in arms.items()], ignore_index=True),
        "documents.parquet": pd.concat([losses(arm, 5.0, 8.0) for arm in arms], ignore_index=True),
    }
    assert selected.render(records).findings[0].verdict is verdict
