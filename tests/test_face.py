"""What a newcomer meets first: versions agree, workflows call what exists, forms open."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def workflow():
    """The workflow of GitHub; YAML reads its `on` as a truth value."""
    return yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


def commands(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_every_command_of_the_workflow_is_a_target_of_make():
    """A renamed target breaks no build behind our back."""
    lines = [line for job in workflow()["jobs"].values() for line in commands(job)]
    assert lines
    for line in lines:
        assert re.fullmatch(r"make ([a-z-]+) PYTHON=python", line), line
        assert line.split()[1] in TARGETS


def test_here_and_on_github_the_same_command_decides():
    """.ci/run, the workflow and the README run one and the same: whoever passes one passes all."""
    last = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    (told,) = re.findall(r"^    (make test)  ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert last == f"exec {told}"
    assert commands(workflow()["jobs"]["test"]) == [f"{told} PYTHON=python"]


def test_slow_tests_run_once_a_week_and_not_with_every_push():
    """The schedule reaches the slow job alone."""
    jobs = workflow()["jobs"]
    assert workflow()[True]["schedule"]
    assert "schedule" in jobs["slow"]["if"]
    assert jobs["test"]["if"] == "github.event_name != 'schedule'"


def test_every_target_says_what_it_is_for():
    """`make` lists all that a person may call."""
    assert set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)) == TARGETS
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_make_test_runs_each_check_once():
    """Lint comes with it, and every test that make check runs is among its tests."""
    assert re.search(r"^test: lint ", MAKEFILE, re.MULTILINE)
    assert re.search(r"^check: lint ", MAKEFILE, re.MULTILINE)
    assert "pytest -q -m 'not slow' " in MAKEFILE
    assert "pytest -q -m 'not slow and not process' " in MAKEFILE


def test_the_version_stands_once():
    """pyproject.toml, CITATION.cff and the newest heading of the changelog agree."""
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert PROJECT["version"] == CITATION["version"] == newest


def test_the_citation_names_the_paper_that_the_readme_names():
    """By title and address."""
    (paper,) = CITATION["references"]
    readme = (ROOT / "README.md").read_text()
    assert paper["title"] in readme
    assert paper["url"] in readme
    assert paper["url"] == PROJECT["urls"]["Paper"]


@pytest.mark.parametrize("field", ["version", "command", "config", "outcome"])
def test_a_report_of_a_bug_asks_for_what_it_takes_to_see_it_again(field):
    """Version, command, config.yaml and what came out."""
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())
    assert field in {part["id"] for part in form["body"]}


@pytest.mark.parametrize("page", ["docs/extending.md", "CONTRIBUTING.md"])
def test_every_path_that_a_guide_names_exists(page):
    """A file that moves takes its mention along; NAME and NN stand for what is not there yet."""
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:revlm|conf|tests|docs|experiments|requirements)/[^`]*)`", text)
    assert named
    assert [path for path in named if not re.search("NAME|NN|[*]", path) and not (ROOT / path).exists()] == []
    assert len((ROOT / "docs" / "extending.md").read_text().splitlines()) <= 80
