"""Crossings as a picture."""

import pytest

from revlm.pages.scores.captions import crossing_words
from revlm.pages.scores.crossings import crossings_figure
from revlm.pages.scores.run import read_score_run
from tests.pages.test_run_figures import words
from tests.scores.score_folders import documents, write_score_run


@pytest.fixture
def run(corpus, tmp_path):
    """Every second group's curves cross."""
    domains = [f"domain {number}" for number in range(6)]
    return read_score_run(write_score_run(tmp_path / "run", documents(corpus, times=4, domains=domains)))


def test_domains_stand_from_early_to_late_below_the_corpus(run):
    """Those that never cross come last, hollow at the window's end, and each says its interval."""
    axes = crossings_figure(run).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "the whole corpus"
    found = [run.crossing(None), *(run.crossing(name) for name in names[1:])]
    places = [crossing["position"] for crossing in found[1:]]
    assert places == sorted(places, key=lambda place: (place is None, place or 0))
    assert None in places
    assert any(place is not None for place in places)
    dots = {line.get_ydata()[0]: line for line in axes.lines if line.get_color() == "black"}
    for row, crossing in enumerate(found):
        never = crossing["position"] is None
        assert dots[row].get_xdata()[0] == (crossing["window"] if never else crossing["position"])
        assert (dots[row].get_marker() == ">") == never
        assert crossing_words(crossing) in words(axes.figure)


def test_an_interval_reaches_from_bound_to_bound(run):
    """A bound of never is the window's end."""
    axes = crossings_figure(run).axes[0]
    bars = {line.get_ydata()[0]: tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 2}
    whole = run.crossing(None)
    assert whole["low"] is not None
    assert bars[0] == (whole["low"], whole["window"] if whole["high"] is None else whole["high"])
