"""Run folders as pictures."""

import json
import os
import subprocess
import sys

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.pages.drawing import COLOURS, save
from revlm.pages.runs import figures
from revlm.pages.runs.run import read_run
from tests.pages.run_folders import write_run


def words(figure):
    """Everything that is written in a figure."""
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text)).replace("\n", " ")


def lines(axes, direction):
    """Strong lines of a direction."""
    return [
        line for line in axes.lines if line.get_color() == COLOURS[direction] and line.get_linewidth() == 2
    ]


def test_a_run_draws_both_pictures(tmp_path):
    """Two PNGs appear in the run's folder, with something on them and no leftovers."""
    drawn = figures.draw_run(write_run(tmp_path / "run"))
    assert sorted(path.name for path in (tmp_path / "run" / "figures").iterdir()) == sorted(
        p.name for p in drawn
    )
    assert all(mpl.image.imread(path).std() > 0.05 for path in drawn)


@pytest.mark.parametrize("change", [None, "missing", "older"])
def test_a_finished_run_is_drawn_once(tmp_path, change):
    """Pictures stand for a run unless one is missing or older than the run's end."""
    folder = write_run(tmp_path / "run")
    assert not figures.is_drawn(folder)
    first, _ = figures.draw_run(folder)
    if change == "missing":
        first.unlink()
    elif change == "older":
        os.utime(first, (0, 0))
    assert figures.is_drawn(folder) == (change is None)


def test_equal_files_give_equal_bytes(tmp_path):
    """Drawing again, in this process or in another with other settings, changes no byte."""
    folder = write_run(tmp_path / "run")
    first = [path.read_bytes() for path in figures.draw_run(folder)]
    code = (
        "import sys, matplotlib; matplotlib.rcParams['font.size'] = 20; matplotlib.rcParams['lines.linewidth'] = 9;"
        "from revlm.pages.runs.figures import draw_run; draw_run(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert [
        (folder / "figures" / n).read_bytes() for n in ("loss_by_direction.png", "position_curves.png")
    ] == first


def test_pictures_carry_no_date_and_no_version(tmp_path):
    """No text chunk of a PNG names software or time."""
    drawn = figures.draw_run(write_run(tmp_path / "run"))
    assert not any(chunk in path.read_bytes() for path in drawn for chunk in (b"tEXt", b"tIME", b"iTXt"))


def test_loss_picture_tells_its_finding(tmp_path):
    """The title says which direction ends lower and by how much, and one seed has no interval."""
    run = read_run(write_run(tmp_path / "run", forward=4.3, reverse=4.343))
    text = words(figures.loss_figure([run]))
    assert "Reverse ends 0.043 nats above forward (1.0%)" in text
    assert "one seed, no interval" in text


def test_loss_lines_are_means_over_seeds(tmp_path):
    """With several seeds the line is their mean and the picture says what the band is."""
    ends = (4.30, 4.36, 4.39)
    runs = [read_run(write_run(tmp_path / str(s), seed=s, forward=f)) for s, f in enumerate(ends)]
    figure = figures.loss_figure(runs)
    (line,) = lines(figure.axes[0], Direction.FORWARD)
    assert line.get_ydata()[-1] == pytest.approx(np.mean(ends))
    assert "bands reach from the lowest to the highest" in words(figure)


def test_every_experiment_has_a_panel(tmp_path):
    """Runs that differ in more than the seed stand in panels of their own, under their names."""
    runs = [read_run(write_run(tmp_path / m, module=m)) for m in ("forward", "reverse", "mixed")]
    figure = figures.loss_figure(runs)
    assert len(figure.axes) == 6
    assert all(f"from_scratch_{m}" in words(figure) for m in ("forward", "reverse", "mixed"))


def test_crossing_is_marked_where_the_file_says(tmp_path):
    """A dotted line stands at the recorded position and the title names it."""
    figure = figures.position_figure([read_run(write_run(tmp_path / "run", position=12))])
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert (marks, "first cross after 12 tokens" in words(figure)) == ([12], True)


def test_never_is_written_in_words(tmp_path):
    """Curves that never cross have no mark, and the picture says so."""
    run = read_run(write_run(tmp_path / "run", position=None, low=None, high=None))
    figure = figures.position_figure([run])
    assert not [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert "The curves never cross within 256 tokens" in words(figure)


def test_crossing_at_zero_claims_no_more_than_the_rule(tmp_path):
    """A crossing at 0 is told as a start with the rule's hold, not as a lead for good."""
    run = read_run(write_run(tmp_path / "run", position=0, low=0, high=3))
    assert "Reverse starts at or below forward, for at least 8 tokens" in words(
        figures.position_figure([run])
    )


def test_seeds_without_a_crossing_are_counted(tmp_path):
    """A sweep says in how many seeds the curves cross."""
    runs = [read_run(write_run(tmp_path / str(s), seed=s, position=p)) for s, p in enumerate((10, None, 14))]
    assert "in 2 of 3 seeds after 10 to 14 tokens" in words(figures.position_figure(runs))


def test_last_validation_is_drawn(tmp_path):
    """Curves of earlier validations, all at 8 nats here, do not enter the picture."""
    figure = figures.position_figure([read_run(write_run(tmp_path / "run"))])
    (line,) = lines(figure.axes[0], Direction.FORWARD)
    assert line.get_ydata()[-1] < 5


@pytest.mark.parametrize("window", [1, 2])
def test_few_positions_are_drawn(tmp_path, window):
    """Windows of one or two tokens give a picture too."""
    folder = write_run(tmp_path / "run", window=window, position=None, low=None, high=None)
    assert all(path.stat().st_size for path in figures.draw_run(folder))


def test_run_in_progress_is_drawn(tmp_path):
    """Without summary, intervals and crossing, a run's pictures show what is there."""
    folder = write_run(tmp_path / "run")
    for name in ("summary.json", "intersection.json", "curves_interval.csv", "curves_first.csv"):
        (folder / name).unlink()
    figures.draw_run(folder)
    assert "not measured" in words(figures.position_figure([read_run(folder, finished=False)]))


def test_diverged_run_is_drawn(tmp_path):
    """A loss that was no number is said to be none."""
    folder = write_run(tmp_path / "run")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows[-1] |= {"val/nll_reverse": None, "val/gap": None}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    figures.draw_run(folder)
    assert "not a finite number" in words(figures.loss_figure([read_run(folder)]))


def test_infinite_bound_leaves_a_picture(tmp_path):
    """A bound that is infinite, for want of tokens in a resample, is left open."""
    folder = write_run(tmp_path / "run", window=8)
    path = folder / "curves_interval.csv"
    path.write_text(path.read_text().rsplit(",", 1)[0] + ",inf\n")
    low, high = figures.position_figure([read_run(folder)]).axes[0].get_ylim()
    assert np.isfinite(high - low)


def test_missing_curves_are_named(tmp_path):
    """A run without curves says which file is missing."""
    folder = write_run(tmp_path / "run")
    (folder / "curves.csv").unlink()
    with pytest.raises(UserError, match=r"curves\.csv: the file is missing"):
        figures.draw_run(folder)


def test_no_half_written_picture(tmp_path):
    """What cannot be put in place leaves nothing beside it."""
    (tmp_path / "taken.png").mkdir()
    figure = figures.loss_figure([read_run(write_run(tmp_path / "run"))])
    with pytest.raises(OSError, match="directory"):
        save(figure, tmp_path / "taken.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken.png"]
