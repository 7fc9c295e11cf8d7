"""Evaluations come back from their files, and tables set side by side only what belongs together."""

import json

import pytest

from revlm.errors import UserError
from revlm.pages.evaluations import (
    evaluation_tables,
    find_evaluations,
    read_evaluation,
    scalars,
    write_evaluation,
)


def evaluation(
    folder, right, *, direction="forward", task="mmlu", fingerprint="aaaaaaaa", too_long=0, **facts
):
    """An evaluation whose questions are answered as `right` says; four choices, gold 0 and 1 in turn."""
    key = f"loglikelihood_{direction}"
    rows = [
        {"doc_id": i, "question": f"q{i}", "gold": i % 2, "acc": float(ok), key: [-1.0, -2.0, -3.0, -4.0]}
        for i, ok in enumerate(right)
    ]
    acc = sum(right) / len(right)
    results = {
        "results": {
            task: {"alias": task, "sample_len": len(right), "acc,none": acc, "acc_stderr,none": "N/A"}
        },
        "n-samples": {task: {"original": 100, "effective": len(right)}},
    }
    known = {
        "model": "m",
        "fingerprint": fingerprint,
        "direction": direction,
        "weight": 1.0,
        "num_fewshot": None,
    }
    cut = {"too_long": {task: {direction: too_long}}}
    write_evaluation(folder, results, {task: rows}, known | cut | facts)
    return folder


def cells(page, *starts):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    return next(row for row in rows if row[: len(starts)] == list(starts))


def test_what_is_written_is_read_back(tmp_path):
    """Results, samples and facts, with numbers as numbers and lm-eval's N/A left out."""
    run = read_evaluation(evaluation(tmp_path / "a", [1, 0, 1, 1]))
    assert run.label == "m forward"
    assert [row["acc"] for row in run.samples["mmlu"]] == [1, 0, 1, 1]
    assert scalars(run) == {"mmlu": {"acc": 0.75}}


def test_accuracies_and_paired_differences_stand_in_the_table(tmp_path):
    """A column an arm, differences against the first on the same questions, with chance and majority beside them."""
    first = evaluation(tmp_path / "a", [1] * 30 + [0] * 10)
    second = evaluation(tmp_path / "b", [1] * 10 + [0] * 30, direction="reverse", too_long=3)
    page = evaluation_tables([first, second])
    assert cells(page, "mmlu")[1:4] == ["0.2500", "0.5000", "0.7500 [0.5981, 0.8581] (n=40)"]
    difference = cells(page, "mmlu", "m reverse", "m forward")
    assert difference[3].startswith("-0.5000 [-0.6500, -0.3500] (n=40)")
    assert difference[4:] == ["<0.0001", "<0.0001"]
    assert cells(page, "mmlu", "m reverse", "reverse")[3] == "3 of 40"


def test_differences_pair_equal_questions_only(tmp_path):
    """Questions that only one arm was asked, or that differ under one number, take no part."""
    first = evaluation(tmp_path / "a", [1, 1, 1, 1])
    second = evaluation(tmp_path / "b", [0, 0, 0, 0, 1, 1], direction="reverse")
    path = second / "samples_mmlu.jsonl"
    path.write_text(path.read_text().replace('"q0"', '"other"'))
    assert cells(evaluation_tables([first, second]), "mmlu", "m reverse", "m forward")[3].endswith("(n=3)")


def test_evaluations_of_one_arm_share_a_column(tmp_path):
    """Other tasks of the same weights fill the same column; a task done twice counts with more questions."""
    folders = [
        evaluation(tmp_path / "a", [1, 0]),
        evaluation(tmp_path / "b", [1, 1, 1]),
        evaluation(tmp_path / "c", [0, 1], task="piqa"),
    ]
    page = evaluation_tables(folders)
    assert cells(page, "task") == ["task", "chance", "majority", "m forward"]
    assert cells(page, "mmlu")[3].endswith("(n=3)")
    assert cells(page, "piqa")[3].endswith("(n=2)")
    assert "Paired differences" not in page


def test_other_weights_of_one_name_are_another_arm(tmp_path):
    """Two models of the same name are told apart by their weights' hash."""
    folders = [evaluation(tmp_path / "a", [1, 0]), evaluation(tmp_path / "b", [1, 1], fingerprint="bbbbbbbb")]
    assert cells(evaluation_tables(folders), "task")[3:] == ["m forward (aaaaaa)", "m forward (bbbbbb)"]


def test_unusual_options_stand_in_the_name(tmp_path):
    """A weight other than 1 and few-shot examples make another arm, and the column says so."""
    folder = evaluation(tmp_path / "a", [1, 0], direction="combined", weight=0.25, num_fewshot=5)
    assert cells(evaluation_tables([folder]), "task")[3] == "m combined weight 0.25 5-shot"


def test_evaluations_are_found_at_any_depth(tmp_path):
    """Finished ones only, by name."""
    inner = evaluation(tmp_path / "runs" / "evaluate" / "x" / "arms" / "b", [1, 0])
    (tmp_path / "runs" / "unfinished").mkdir()
    assert find_evaluations(tmp_path) == [inner]


@pytest.mark.parametrize(
    ("damage", "named"),
    [("results", "results.json: Expecting"), ("samples", "samples_mmlu.jsonl: the file is missing"), ("foreign", "results.json: no fingerprint")],
)  # fmt: skip
def test_damaged_files_are_named(tmp_path, damage, named):
    """Cut short, lost, or results of lm-eval that revlm did not write."""
    folder = evaluation(tmp_path / "a", [1, 0])
    if damage == "results":
        (folder / "results.json").write_text('{"results": ')
    elif damage == "samples":
        (folder / "samples_mmlu.jsonl").unlink()
    else:
        whole = json.loads((folder / "results.json").read_text())
        del whole["revlm"]["fingerprint"]
        (folder / "results.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match=rf"/a/{named}.*: remove the folder and evaluate again"):
        evaluation_tables([folder])


def test_an_unfinished_evaluation_says_so(tmp_path):
    """No results, no table."""
    with pytest.raises(UserError, match="not finished: give its command again"):
        read_evaluation(tmp_path)
