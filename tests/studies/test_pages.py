"""Pages come out of the records alone, to the byte, and need nothing beside them."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from revlm.errors import UserError
from revlm.studies.catalogue import STUDIES
from revlm.studies.html import report_html
from revlm.studies.pages import RECORDS, RESULTS, fill, write_page, write_pages
from revlm.studies.records import Records, collect, write_record

from .planted import losses, runs, validations

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments"
MEASURED = [name for name in STUDIES if (EXPERIMENTS / name / RESULTS / RECORDS).is_dir()]


@pytest.fixture
def experiments(tmp_path):
    """A folder of studies, one of them with records."""
    folder = tmp_path / "experiments" / "03_continued"
    arms = ("continued_forward_en", "continued_mixed_en", "continued_reverse_en")
    documents = [losses("from_scratch_forward_en", 5.0, 8.0), losses("continued_mixed_en", 5.0, 5.4)]
    records = folder / RESULTS / RECORDS
    write_record(validations(*arms), records / "validations.csv")
    write_record(runs(*arms), records / "runs.csv")

    write_record(pd.concat(documents), records / "documents.parquet")
    shutil.copy(EXPERIMENTS / "03_continued" / "README.md", folder)
    return tmp_path / "experiments"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", MEASURED)
def test_committed_results_come_out_of_their_records_again(name, tmp_path):
    """Every committed table, picture, finding and number in a README is what the records give, byte for byte."""
    folder = tmp_path / name
    shutil.copytree(EXPERIMENTS / name, folder)
    for made in ("tables", "figures"):
        shutil.rmtree(folder / RESULTS / made)
    write_page(STUDIES[name], folder)
    assert contents(folder) == contents(EXPERIMENTS / name)


def test_every_study_has_its_folder_with_a_page_and_a_command():
    """Claim, place, command, expected, measured, and how ours differs."""
    for name in STUDIES:
        text = (EXPERIMENTS / name / "README.md").read_text()
        for heading in ("## Claim", "## What came out", "## Command", "## Expected", "## How ours differs"):
            assert heading in text, f"{name}: no {heading}"
        assert (EXPERIMENTS / name / "run.sh").stat().st_mode & 0o100


def test_pages_are_the_same_the_second_time(experiments):
    """Nothing in a page depends on when or how often it is made."""
    write_pages(experiments)
    before = contents(experiments)
    write_pages(experiments)
    assert contents(experiments) == before
    assert b"nats" in before[Path("03_continued/README.md")]


def test_the_report_needs_nothing_beside_it(experiments, tmp_path):
    """Pictures are inside, no script or style comes from elsewhere, and links to raw files lead somewhere."""
    pages = write_pages(experiments)
    text = report_html(pages, tmp_path, runs="| a |\n| - |\n| 1 |")
    assert re.findall(r'src="(?!data:)', text) == []
    # Of the page alone: any four letters may stand in the bytes of a picture.
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text)
    assert "<script" not in text
    links = re.findall(r'href="([^"#][^"]*)"', text)
    assert len(links) == 3
    assert all((tmp_path / link).is_file() for link in links)
    assert "<td>1</td>" in text


def test_a_page_without_a_block_says_which(tmp_path):
    """A README that lost its marks is not guessed at."""
    page = tmp_path / "README.md"
    page.write_text("<!-- a -->\nold\n<!-- end of a -->\n")
    fill(page, {"a": "new"})
    assert page.read_text() == "<!-- a -->\nnew\n<!-- end of a -->\n"
    with pytest.raises(UserError, match="no block for b"):
        fill(page, {"b": "new"})


def test_no_records_is_told(tmp_path):
    """An empty folder of studies names the way out."""
    with pytest.raises(UserError, match="make reproduce"):
        write_pages(tmp_path)
    with pytest.raises(UserError, match="no such record"):
        Records(tmp_path)["runs.csv"]
    with pytest.raises(UserError, match="no finished run"):
        collect(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match=r"choose from runs\.csv"):
        collect(tmp_path, tmp_path / "out", ["run.csv"])


def test_a_damaged_record_is_told(tmp_path):
    """Its name, and how to make it again."""
    (tmp_path / "documents.parquet").write_bytes(b"not a table")
    with pytest.raises(UserError, match="collect it again"):
        Records(tmp_path)["documents.parquet"]
