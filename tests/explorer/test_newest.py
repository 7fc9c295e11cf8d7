"""What the notebooks open."""

import json
import os

import pytest

from revlm.explorer.newest import NothingToShowError, enter_project, newest_model, newest_scores
from tests.scores.score_folders import documents, write_score_run

BOTH = ["forward", "reverse"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an empty runs/, the notebooks beside it, nothing named."""
    for name in ("REVLM_MODEL", "REVLM_SCORES"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "runs").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, facts, seconds):
    """A file of so old an age."""
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(facts))
    os.utime(path, (seconds, seconds))


def test_notebooks_work_where_commands_are_typed(project, monkeypatch):
    """From their own folder up to the one that holds runs/, however often the cell runs."""
    monkeypatch.chdir(project / "notebooks")
    assert enter_project() == enter_project() == project
    assert project.samefile(".")


def test_the_newest_finished_run_of_one_model_is_taken(project):
    """A run of several models has no curves, so it is passed over, as a damaged one is not fatal."""
    write(project / "runs/score/old/score.json", {}, 100)
    write(project / "runs/score/new/score.json", {}, 200)
    write(project / "runs/score/several/score.json", {"models": ["a", "b"]}, 300)
    assert newest_scores().as_posix() == "runs/score/new"


def test_the_newest_model_that_reads_both_ways_is_taken(project):
    """A forward model's reverse loss would say nothing about a text."""
    write(project / "runs/from_scratch_mixed/1/model/revlm.json", {"directions": BOTH}, 100)
    write(project / "runs/sweep/from_scratch_mixed/2/model/revlm.json", {"directions": BOTH}, 200)
    write(project / "runs/from_scratch_forward/3/model/revlm.json", {"directions": ["forward"]}, 300)
    assert newest_model() == "runs/sweep/from_scratch_mixed/2/model"


def test_what_is_named_comes_first(project, corpus, monkeypatch):
    """REVLM_SCORES and REVLM_MODEL win over what lies below runs/; a hub id passes through."""
    write(project / "runs/score/new/score.json", {}, 200)
    named = write_score_run(project / "elsewhere", documents(corpus))
    monkeypatch.setenv("REVLM_SCORES", str(named))
    monkeypatch.setenv("REVLM_MODEL", "somebody/model")
    assert newest_scores() == named
    assert newest_model() == "somebody/model"


def test_what_to_run_is_said_in_one_line(project, monkeypatch):
    """No run, no model, a wrong folder: one line with the way out, which a notebook shows alone."""
    with pytest.raises(NothingToShowError, match="run make train") as nothing:
        newest_model()
    assert nothing.value._render_traceback_() == [str(nothing.value)]
    with pytest.raises(
        NothingToShowError, match=r"run python -m revlm\.score model=runs/.*ID/model data=sample"
    ):
        newest_scores()
    write(project / "runs/mixed/1/model/revlm.json", {"directions": BOTH}, 100)
    with pytest.raises(NothingToShowError, match=r"revlm\.score model=runs/mixed/1/model data=sample"):
        newest_scores()
    monkeypatch.setenv("REVLM_SCORES", "runs/mixed/1")
    with pytest.raises(NothingToShowError, match=r"REVLM_SCORES: runs/mixed/1: no score\.json"):
        newest_scores()


def test_a_named_run_of_several_models_names_their_own(project, corpus, monkeypatch):
    """Texts and curves belong to one model."""
    folder = write_score_run(project / "both", documents(corpus), about={"models": ["a", "b"]})
    monkeypatch.setenv("REVLM_SCORES", str(folder))
    with pytest.raises(NothingToShowError, match=r"several models: name one of .*models/a, .*models/b"):
        newest_scores()
