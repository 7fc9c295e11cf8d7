"""Run folders as tables."""

import csv
import io
import json
import re
import shutil

import pytest
from rich.cells import cell_len
from scipy import stats

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.markup import markdown
from revlm.pages.runs import sweeps, tables
from revlm.pages.runs.run import read_run
from revlm.pages.text import crossing_text
from revlm.statistics.effect import seed_mean
from tests.pages.run_folders import write_run


@pytest.fixture
def arm_runs(tmp_path):
    """Write the runs of one arm, a pair of losses a seed, and read them back."""

    def write(module, losses, **options):
        name = f"{module}_{options.get('tokens', '')}_{len(list(tmp_path.iterdir()))}"
        return [
            read_run(
                write_run(
                    tmp_path / f"{name}_{seed}", module=module, seed=seed, forward=f, reverse=r, **options
                )
            )
            for seed, (f, r) in enumerate(losses)
        ]

    return write


def test_one_seed_has_no_interval(arm_runs):
    """One seed is a number without an interval, and the cell says so."""
    arm = sweeps.gather(arm_runs("mixed", [(4.3, 4.31)]))[0]
    assert arm.estimate("nll_forward").text(".4f") == "4.3000 (no interval, n=1)"


def test_seeds_gather_and_nothing_else_does(arm_runs):
    """Runs of other budgets, corpora, modules or learning rates are never pooled as seeds."""
    runs = [
        *arm_runs("mixed", [(4.3, 4.31), (4.4, 4.41)]),
        *arm_runs("mixed", [(4.2, 4.25)], tokens=3_000_000),
        *arm_runs("mixed", [(4.5, 4.55)], fingerprint="another"),
        *arm_runs("forward", [(4.1, 6.0)]),
        *arm_runs("mixed", [(4.6, 4.65)], options={"optimizer.lr": 0.01}),
    ]
    assert sorted(len(arm.runs) for arm in sweeps.gather(runs)) == [1, 1, 1, 1, 2]


def test_arms_of_equal_labels_name_the_option_in_which_they_differ(arm_runs):
    """Two arms that differ in a learning rate alone carry it in their names."""
    runs = arm_runs("mixed", [(4.3, 4.31)])
    runs += arm_runs("mixed", [(4.6, 4.65)], options={"optimizer.lr": 0.01})
    assert sorted(arm.variant for arm in sweeps.gather(runs)) == ["optimizer.lr=0.003", "optimizer.lr=0.01"]


def test_a_seed_counts_once(arm_runs):
    """A run repeated with its seed makes no second seed."""
    runs = arm_runs("mixed", [(4.3, 4.31)]) + arm_runs("mixed", [(4.3, 4.31)])
    assert [arm.estimate("gap").n for arm in sweeps.gather(runs)] == [1]


def test_machine_options_split_no_arm(arm_runs):
    """Where a run computed, and with how many workers, is no difference between seeds."""
    runs = arm_runs("mixed", [(4.3, 4.31)], options={"data.num_workers": 4, "trainer.accelerator": "gpu"})
    runs += arm_runs("mixed", [(4.3, 4.31), (4.4, 4.41)])[1:]
    assert [arm.seeds for arm in sweeps.gather(runs)] == [(0, 1)]


def test_paired_difference_is_the_paired_t_interval(arm_runs):
    """Mixed minus forward is taken seed by seed and has the interval of scipy's paired t-test."""
    mixed, forward = [4.40, 4.47, 4.43], [4.30, 4.35, 4.36]
    runs = arm_runs("mixed", [(f, 5.0) for f in mixed]) + arm_runs("forward", [(f, 6.0) for f in forward])
    (pair,) = sweeps.compare(sweeps.gather(runs))
    expected = stats.ttest_rel(mixed, forward).confidence_interval(0.95)
    assert (pair.difference.low, pair.difference.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("tokens", "matched"), [(1_500_000, "total tokens"), (750_000, "tokens per direction"), (900_000, None)]
)
def test_comparison_says_what_is_matched(arm_runs, tokens, matched):
    """Arms are compared at equal total tokens or at equal tokens per direction, and at no other ratio."""
    runs = arm_runs("mixed", [(4.4, 4.5)]) + arm_runs("forward", [(4.3, 6.0)], tokens=tokens)
    assert [pair.matched for pair in sweeps.compare(sweeps.gather(runs))] == ([matched] if matched else [])


def test_tokens_counted_in_each_direction_are_paid_for_twice(arm_runs):
    """A mixed run whose budget counts each direction is matched with runs that read as much in one."""
    runs = arm_runs("mixed", [(4.4, 4.5)]) + arm_runs("forward", [(4.3, 6.0)])
    runs[0].config["budget"]["per_direction"] = True
    mixed = next(arm for arm in sweeps.gather(runs) if arm.labels["module"] == "mixed")
    assert mixed.tokens == 2 * mixed.settings["budget.tokens"]
    assert [pair.matched for pair in sweeps.compare(sweeps.gather(runs))] == ["tokens per direction"]


@pytest.mark.parametrize("other", [{"fingerprint": "another"}, {"window": 128}])
def test_arms_on_other_tokens_are_not_compared(arm_runs, other):
    """Losses over another corpus or another window are no pair."""
    runs = arm_runs("mixed", [(4.4, 4.5)]) + arm_runs("forward", [(4.3, 6.0)], **other)
    assert sweeps.compare(sweeps.gather(runs)) == []


def test_unpaired_seeds_are_left_out_of_a_comparison(arm_runs):
    """Only seeds that both arms ran make pairs."""
    runs = arm_runs("mixed", [(4.4, 4.5), (4.5, 4.6)]) + arm_runs("reverse", [(7.0, 4.3)])
    (pair,) = sweeps.compare(sweeps.gather(runs))
    assert (pair.direction, pair.by_seed) == (Direction.REVERSE, pytest.approx({0: 0.2}))


def test_comparison_names_other_differences(arm_runs):
    """Arms that also differ in a learning rate are compared, and the row says in what they differ."""
    runs = arm_runs("mixed", [(4.4, 4.5)])
    runs += arm_runs("forward", [(4.3, 6.0)], options={"optimizer.lr": 0.01})
    arms = sweeps.gather(runs)
    assert "differ in optimizer.lr" in tables.sweep_markdown(arms, sweeps.compare(arms))


def test_markdown_columns_line_up():
    """Every line of a table is as wide as the others on a terminal, wide characters included."""
    page = markdown(["name", "loss"], [["from_scratch", "4.3"], ["日本語", "12.25"], ["a|b", ""]])
    assert len({cell_len(line) for line in page.splitlines()}) == 1


def test_sweep_csv_keeps_every_digit_with_its_interval(arm_runs):
    """Each row of the CSV holds the unrounded mean, its interval, n and the seeds."""
    arms = sweeps.gather(arm_runs("mixed", [(4.3, 4.31), (4.4, 4.42), (4.1, 4.2)]))
    rows = list(csv.DictReader(io.StringIO(tables.sweep_csv(arms, []))))
    forward = seed_mean(dict(enumerate([4.3, 4.4, 4.1])))
    assert (*(float(rows[0][key]) for key in ("mean", "low", "high")), rows[0]["n"], rows[0]["seeds"]) == (
        forward.value, forward.low, forward.high, "3", "0 1 2",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("crossing", "text"),
    [
        ({"position": 12, "low": 9, "high": 20}, "12 [9, 20]"),
        ({"position": 12, "low": 9, "high": None}, "12 [9, never]"),
        ({"position": None, "low": 40, "high": None}, "never [40, never]"),
        ({"position": None, "low": None, "high": None}, "never"),
        ({"position": 0, "low": 0, "high": 0}, "0 [0, 0]"),
        ({}, "not measured"),
    ],
)
def test_crossing_in_words(crossing, text):
    """A crossing past the window is "never", as a position and as a bound."""
    assert crossing_text(crossing) == text


def test_summary_table_tells_the_end_of_a_run(tmp_path):
    """The table at the end holds both losses, their gap and the crossing."""
    text = tables.summary_table(read_run(write_run(tmp_path / "run", forward=4.3, reverse=4.343)))
    assert all(part in text for part in ("4.3000", "4.3430", "+0.0430 (+1.0%)", "12 [9, 20]"))


COUNTED = {
    "forward": {"2": 5.1, "3": 4.9, "4": 4.6234},
    "reverse": {"2": 5.2, "3": 4.8, "4": 4.6345},
}


def counting(folder, counted):
    """A run whose summary says what counting reaches."""
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"counted_nll": counted}))
    return read_run(folder)


def test_the_end_of_a_run_says_what_counting_reaches(tmp_path):
    """Beneath the losses stand those of a 4-gram; a run of an older version says nothing of them."""
    old = tables.summary_table(read_run(write_run(tmp_path / "old"))).splitlines()
    new = tables.summary_table(counting(write_run(tmp_path / "new"), COUNTED)).splitlines()
    losses = [row.split() for row in new if "4-gram" in row]
    assert losses == [f"{side} loss of a 4-gram {COUNTED[side]['4']}".split() for side in Direction]
    assert [row.split() for row in old] == [row.split() for row in new if "4-gram" not in row]


def test_a_run_of_too_much_text_says_that_nothing_was_counted(tmp_path):
    """Above the limit of counting the table tells so, with the limit."""
    text = tables.summary_table(counting(write_run(tmp_path / "run"), None))
    assert re.search(r"losses of a 4-gram +not counted \(over 10M tokens\)", text)


def test_the_table_of_runs_has_counted_losses_where_all_seeds_have_them(tmp_path, arm_runs):
    """An arm of which a seed was not counted has a dash; a table of old runs has no such columns."""
    old, half = arm_runs("forward", [(4.1, 6.0)]), arm_runs("reverse", [(7.0, 4.2), (7.1, 4.3)])
    assert "4-gram" not in tables.sweep_markdown(sweeps.gather(old), [])
    new = counting(write_run(tmp_path / "new"), COUNTED)
    half[0] = counting(half[0].folder, COUNTED)
    page = tables.sweep_markdown(sweeps.gather([*old, *half, new]), [])
    ends = {
        tuple(cell.strip() for cell in row.split("|"))[-3:-1] for row in page.splitlines() if "from_" in row
    }
    assert ends == {("-", "-"), ("4.6234", "4.6345")}


def test_runs_csv_holds_every_counted_order(tmp_path):
    """Cells of runs that were not counted are empty."""
    runs = [read_run(write_run(tmp_path / "old")), counting(write_run(tmp_path / "new"), COUNTED)]
    old, new = csv.DictReader(io.StringIO(tables.runs_csv(runs)))
    for side in Direction:
        assert [old[f"counted_nll_{side}_{n}"] for n in (2, 3, 4)] == [""] * 3
        assert {str(n): float(new[f"counted_nll_{side}_{n}"]) for n in (2, 3, 4)} == COUNTED[side]


def test_a_diverged_run_has_no_loss(tmp_path):
    """A loss that was no number is read from null and stays visible as not defined."""
    folder = write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"nll_reverse": None, "gap": None}))
    arms = sweeps.gather([read_run(folder)])
    assert "not defined (n=1)" in tables.sweep_markdown(arms, [])


def test_unfinished_run_says_how_to_continue(tmp_path):
    """Without summary.json a run is unfinished, and the line tells how to continue it."""
    folder = write_run(tmp_path / "run")
    (folder / "summary.json").unlink()
    with pytest.raises(UserError, match=r"not finished: continue it with .*ckpt_path=last"):
        read_run(folder)


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "metrics.jsonl", "summary.json", "curves.csv", "intersection.json", "curves_first.csv"],
)
@pytest.mark.parametrize("content", ['{"step": 1', "", "a: [b\n", "[]\n", "step,direction\n1,forward\n"])
def test_damaged_file_is_named(tmp_path, name, content):
    """A file cut short or of another form is named in one line with a way out."""
    folder = write_run(tmp_path / "run", window=4)
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name}: .*train this run again") as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "curves.csv", "intersection.json"])
def test_missing_file_is_named(tmp_path, name):
    """A finished run that lost a file is refused by the file's name."""
    folder = write_run(tmp_path / "run", window=4)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: the file is missing"):
        read_run(folder)


def test_missing_folder_is_named(tmp_path):
    """A folder that is not there is named."""
    with pytest.raises(UserError, match="there is no such folder"):
        read_run(tmp_path / "nowhere")


def test_rows_done_again_count_once(tmp_path):
    """Rows of steps that a continued run did again replace those of the first time."""
    folder = write_run(tmp_path / "run", window=4, tokens=30_000)
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines + lines[len(lines) // 2 :]))
    assert read_run(folder).metrics == [json.loads(line) for line in lines]


def test_runs_csv_has_a_row_a_run(tmp_path):
    """Every run has a row with its folder, its losses and its crossing, never as a word."""
    first = write_run(tmp_path / "a", position=None, low=None, high=None)
    shutil.copytree(first, tmp_path / "b")
    runs = [read_run(tmp_path / name) for name in "ab"]
    rows = list(csv.DictReader(io.StringIO(tables.runs_csv(runs))))
    assert [(row["nll_forward"], row["intersection"]) for row in rows] == [("4.3", "never")] * 2


def test_runs_csv_says_what_a_run_cost_where_it_is_known(tmp_path):
    """Runs of older versions say nothing of device, memory and MFU: their cells are empty."""
    old, new = (write_run(tmp_path / name) for name in ("old", "new"))
    summary = json.loads((new / "summary.json").read_text())
    cost = {"mfu": 0.25, "peak_memory_mb": 500.0, "device": "cpu (x, 2 threads)"}
    (new / "summary.json").write_text(json.dumps(summary | cost))
    rows = list(csv.DictReader(io.StringIO(tables.runs_csv([read_run(old), read_run(new)]))))
    assert [[row[key] for key in cost] for row in rows] == [[""] * 3, ["0.25", "500.0", "cpu (x, 2 threads)"]]
    assert list(rows[0])[-3:] == list(cost)
