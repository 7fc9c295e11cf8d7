"""The experiments run from end to end on tiny models, and again without doing anything twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from revlm.studies.catalogue import STUDIES
from revlm.studies.pages import write_page
from revlm.studies.records import Records

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def run_study(tmp_path_factory, cache_dir):
    """Run a study's run.sh at scale=smoke, as `make reproduce` does; studies share their runs."""
    runs = tmp_path_factory.mktemp("reproduce")

    def run(name):
        done = subprocess.run(
            [EXPERIMENTS / name / "run.sh", "smoke"],
            env=os.environ | {"PYTHON": sys.executable, "RUNS": str(runs), "REVLM_CACHE": str(cache_dir)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout, runs / "smoke" / name / "results"

    return run


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_from_end_to_end(run_study, name, tmp_path):
    """From text to tables, pictures and verdicts, with the commands that the laptop results came from."""
    _, results = run_study(name)
    records = Records(results / "records")
    assert all(needed in records for needed in STUDIES[name].needs)
    page = write_page(STUDIES[name], results.parent)
    assert page.results.findings
    assert all(path.stat().st_size > 10_000 for path in page.figures.values())


def test_a_study_that_is_finished_does_nothing_again(run_study):
    """The same command skips what is done and collects the same records."""
    _, results = run_study("02_from_scratch")
    before = {path: path.read_bytes() for path in (results / "records").iterdir()}
    said, _ = run_study("02_from_scratch")
    # Two seeds of five arms; eight English models scored together and two German ones.
    assert said.count("is finished already.") == 2 * 5 + 8 + 2
    assert {path: path.read_bytes() for path in (results / "records").iterdir()} == before
