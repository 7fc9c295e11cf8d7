"""The README tells what is there."""

import re
from pathlib import Path

from revlm.data.sample import catalogue

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_every_source_of_the_sample_stands_in_the_readme_with_its_terms():
    """A reader knows where each text comes from, how much there is and on what terms."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if "==" in line]
    told = {tuple(row[:4] + row[6:]): tuple(row[4:6]) for row in rows if len(row) == 7}
    for source in catalogue():
        key = tuple(source[name] for name in ("language", "domain", "origin", "package", "terms"))
        assert key in told
        # Texts behind an opt-in may not be installed; what is there is counted.
        if source["documents"]:
            assert told[key] == (f"{source['documents']:,}", f"{source['megabytes']:.2f}")


def test_every_file_and_figure_that_the_readme_names_exists():
    """No link leads nowhere."""
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_make_target_of_the_readme_exists():
    """The first commands that a user types are there."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
