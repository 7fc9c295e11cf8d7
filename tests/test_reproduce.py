"""The experiments run from end to end on tiny models, and again without doing anything twice."""

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from revlm import cli
from revlm.checks import check
from revlm.composition import COMMANDS
from revlm.config import DataConfig
from revlm.studies.catalogue import STUDIES
from revlm.studies.pages import write_page
from revlm.studies.records import Records

# A study is a dozen commands.
pytestmark = pytest.mark.timeout(1800)
EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


@pytest.fixture(scope="module")
def run_study(tmp_path_factory, cache_dir, python):
    """Run a study's run.sh at scale=smoke, as `make reproduce` does; studies share their runs."""
    runs = tmp_path_factory.mktemp("reproduce")

    def run(name):
        done = subprocess.run(
            [EXPERIMENTS / name / "run.sh", "smoke"],
            env=os.environ | {"PYTHON": python, "RUNS": str(runs), "REVLM_CACHE": str(cache_dir)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout, runs / "smoke" / name / "results"

    return run


@pytest.mark.process
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_from_end_to_end(run_study, name, tmp_path):
    """From text to tables, pictures and verdicts, with the commands that the laptop results came from."""
    _, results = run_study(name)
    records = Records(results / "records")
    assert all(needed in records for needed in STUDIES[name].needs)
    page = write_page(STUDIES[name], results.parent)
    assert page.results.findings
    assert all(path.stat().st_size > 10_000 for path in page.figures.values())


@pytest.mark.process
def test_a_study_that_is_finished_does_nothing_again(run_study):
    """The same command skips what is done and collects the same records."""
    _, results = run_study("02_from_scratch")
    before = {path: path.read_bytes() for path in (results / "records").iterdir()}
    said, _ = run_study("02_from_scratch")
    # Two seeds of five arms; eight English models scored together and two German ones.
    assert said.count("is finished already.") == 2 * 5 + 8 + 2
    assert {path: path.read_bytes() for path in (results / "records").iterdir()} == before


@pytest.fixture
def recorded(tmp_path):
    """The command lines of a study at a scale, written down instead of started."""
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "" >> "{log}"\n')
    python.chmod(0o755)

    def commands(name, scale):
        env = os.environ | {"PYTHON": str(python), "RUNS": str(tmp_path / "runs")}
        subprocess.run([EXPERIMENTS / name / "run.sh", scale], env=env, check=True)
        # Under one name wherever they lie, so that what studies share is composed once.
        said = log.read_text().replace(str(tmp_path), "somewhere")
        return [tuple(command.splitlines()) for command in said.split("\n\n") if command]

    return commands


@functools.cache
def one_job(module, *overrides):
    """Options of a command line's first job: of `a,b` the first, of a sweep file's lists too."""
    cli.register()
    name = module.removeprefix("revlm.")
    _, overrides = cli.for_hydra(overrides, COMMANDS[name])
    first = [re.sub(r"=([^\[\]',]+),.*", r"=\1", override) for override in overrides if override != "-m"]
    config = cli.compose(name, first, return_hydra_config=True)
    swept = OmegaConf.to_container(config.hydra.sweeper).get("params") or {}
    named = {override.split("=")[0] for override in first}
    more = [f"{key}={str(values).split(',')[0]}" for key, values in swept.items() if key not in named]
    if more:
        return cli.compose(name, [*more, *first])
    del config.hydra
    return config


@pytest.mark.parametrize("scale", ["laptop", "paper"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_command_of_a_study_composes_at_every_scale(recorded, name, scale):
    """What a laptop or a cluster is asked to do has valid options, known models and known data."""
    for _, module, *overrides in recorded(name, scale):
        config = one_job(module, *overrides)
        schema = COMMANDS[module.removeprefix("revlm.")]
        check(OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config)))


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_selected_text_leaves_documents_to_validate_on(recorded, scale):
    """The pool has nothing of the share that is held out, so the share for validation must reach beyond it."""
    commands = recorded("06_selection", scale)
    assert any("data.part=training" in command for command in commands)
    (going_on,) = [command for command in commands if "+sweep=study_selected" in command]
    (share,) = [option.split("=")[1] for option in going_on if option.startswith("data.val_fraction=")]
    assert float(share) > DataConfig().val_fraction
