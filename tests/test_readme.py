"""The README tells what is there."""

import re
import shlex
from pathlib import Path

import pytest

from revlm.config import Source
from revlm.data.sample import catalogue

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_every_source_of_sample_and_labelled_text_stands_in_the_readme_with_its_terms():
    """A reader knows where each text comes from, how much there is and on what terms."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if "==" in line]
    told = {tuple(row[:4] + row[6:]): tuple(row[4:6]) for row in rows if len(row) == 7}
    for source in catalogue() + catalogue(Source.labelled):
        key = tuple(source[name] for name in ("language", "domain", "origin", "package", "terms"))
        assert key in told
        # Texts behind an opt-in may not be installed; what is there is counted.
        if source["documents"]:
            assert told[key] == (f"{source['documents']:,}", f"{source['megabytes']:.2f}")


def test_every_file_and_figure_that_the_readme_names_exists():
    """No link leads nowhere."""
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target.partition("#")[0]).exists(), target


def test_every_make_target_of_the_readme_exists():
    """The first commands that a user types are there."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.process
def test_the_lines_that_write_and_export_run(smoke_run, revlm_command, tmp_path, monkeypatch, capsys):
    """Typed as they stand, on a run of one's own: the text ends with the reverse prompt, and the model is exported."""
    section = README[README.index("## Write and export") : README.index("## Text\n")]
    lines = [line.removeprefix("    ") for line in section.splitlines() if line.startswith("    ")]
    lines = [line.replace("runs/from_scratch_mixed/ID", "run") for line in lines]
    (tmp_path / "run").symlink_to(smoke_run)
    python = [line for line in lines if not line.startswith("python -m")]
    monkeypatch.chdir(tmp_path)
    exec("\n".join(python).replace("seed=1", "seed=1, num_tokens=20"), {})
    assert capsys.readouterr().out.endswith(" and they lived happily ever after.\n")
    for line in lines:
        if line.startswith("python -m"):
            _, _, module, *arguments = shlex.split(line)
            # The smoke model's context is 65 tokens.
            short = ["num_tokens=20"] if module == "revlm.generate" else []
            done = revlm_command(module.removeprefix("revlm."), *arguments, *short, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    assert (tmp_path / "my-model" / "README.md").is_file()
