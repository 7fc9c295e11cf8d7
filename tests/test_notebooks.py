"""The notebooks run as they are committed, on a small run of one's own."""

import base64
import io
import itertools
import re
from pathlib import Path

import matplotlib.image
import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NAMES = ("curves_and_intersections", "explore_by_s", "token_by_token")
MOST_LINES = 12


def notebook(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run all cells of a notebook beside an empty runs/, with some environment variables."""
    for name in ("REVLM_MODEL", "REVLM_SCORES"):
        monkeypatch.delenv(name, raising=False)
    # The kernel's own files go where the test's go.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    (tmp_path / "work" / "runs").mkdir(parents=True)

    def run(book, **env):
        for name, value in env.items():
            monkeypatch.setenv(name, str(value))
        place = {"metadata": {"path": str(tmp_path / "work")}}
        NotebookClient(book, timeout=300, kernel_name="python3", resources=place).execute()

    return run


def outputs(book, kind):
    """Outputs of a MIME type."""
    found = [output for cell in book.cells for output in cell.get("outputs", [])]
    return [output["data"][kind] for output in found if kind in output.get("data", {})]


@pytest.fixture(scope="module")
def scored(revlm_command, smoke_run, tmp_path_factory):
    """A small scoring run of the smoke model."""
    folder = tmp_path_factory.mktemp("scored") / "run"
    data = ("data=sample", "data.domains=[finance,bbc_news,drama]", "data.max_bytes_per_domain=30000")
    options = (
        f"model={smoke_run / 'model'}",
        *data,
        "curves.resamples=20",
        "logger=none",
        f"run.dir={folder}",
    )
    revlm_command("score", *options, check=True)
    return folder


def test_these_are_the_notebooks():
    """Each one is executed below."""
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_without_what_it_printed(name):
    """No outputs, no counts, nothing of the machine it was written on."""
    book = notebook(name)
    nbformat.validate(book)
    for cell in book.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell.metadata
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert set(book.metadata.language_info) == {"name"}


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_of_code_is_short_and_has_a_word_before_it(name):
    """What takes more is a function of the package, with a test of its own."""
    cells = notebook(name).cells
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown"
            assert len(cell.source.splitlines()) <= MOST_LINES
    assert sum(cell.cell_type == "code" for cell in cells) == len(cells) // 2


@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_as_it_is(name, execute, smoke_run, scored):
    """From the first cell to the last, with pictures that show something and nothing on stderr."""
    book = notebook(name)
    execute(book, REVLM_MODEL=smoke_run / "model", REVLM_SCORES=scored)
    every = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in every if output.output_type == "error"]
    assert not [output for output in every if output.get("name") == "stderr"]
    pictures = [matplotlib.image.imread(io.BytesIO(base64.b64decode(p))) for p in outputs(book, "image/png")]
    assert pictures
    assert all(picture[..., :3].std() > 0.02 for picture in pictures)
    pages = "".join(outputs(book, "text/html"))
    if name == "token_by_token":
        assert len(set(re.findall(r'title="forward [^"]*" style="[^"]*background:(#\w{6})"', pages))) > 10
    if name == "explore_by_s":
        assert pages.index("Highest S") < pages.index("Lowest S")


@pytest.mark.process
@pytest.mark.parametrize(("name", "way"), [("explore_by_s", "revlm.score"), ("token_by_token", "make train")])
def test_without_a_run_a_notebook_says_what_to_run(name, way, execute):
    """One line in place of a traceback, from the first cell."""
    book = notebook(name)
    with pytest.raises(CellExecutionError):
        execute(book)
    (error,) = [output for cell in book.cells for output in cell.get("outputs", [])]
    (line,) = error.traceback
    assert way in line
