"""The tests can fail: each silent error is planted in a copy of the project, and its test must find it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STREAMS, NLL, TESTS = "revlm/data/streams.py", "revlm/models/nll.py", "tests"

# (what goes wrong, file, right line, planted line, the test that must fail)
BUGS = [
    (
        "targets leak: a token is predicted from itself",
        NLL,
        "return states[:, :-1][wanted], labels[:, 1:][wanted]",
        "return states[:, 1:][wanted], labels[:, 1:][wanted]",
        "models/test_nll.py::test_nll_equals_transformers_own_loss",
    ),
    (
        "BOS becomes a target",
        STREAMS,
        "labels[r, body_at:end] = body",
        "labels[r, at:end] = input_ids[r, at:end]",
        "data/test_streams.py::test_labels_are_the_body_and_nothing_else",
    ),
    (
        "padding stands on the left",
        STREAMS,
        "            at = 0\n",
        "            at = shape[1] - sum(int(self.windows.length[i]) + self.layout.prefix for i in items)\n",
        "data/test_streams.py::test_no_padding_stands_before_a_real_token",
    ),
    (
        "packed windows see each other",
        STREAMS,
        "position_ids[r, at:end] = np.arange(end - at)",
        "position_ids[r, at:end] = np.arange(at, end)",
        "models/test_nll.py::test_packed_documents_do_not_see_each_other",
    ),
    (
        "windows are cut after orienting",
        STREAMS,
        "return self.layout.orient(window, direction)",
        (
            "whole = self.layout.orient(self.store.document(self.windows.doc[item]), direction)\n"
            "        return whole[start : start + self.windows.length[item]]"
        ),
        "data/test_streams.py::test_both_directions_score_the_same_tokens",
    ),
    (
        "reverse is never reversed",
        "revlm/direction.py",
        "        return ids[::-1]",
        "        return ids",
        "data/test_streams.py::test_a_reverse_row_is_bos_and_the_window_backwards",
    ),
    (
        "a mean of means over micro-batches",
        "revlm/training/modules.py",
        'total / batch["step_targets"] * self.trainer.world_size * accumulate',
        'total / (batch["labels"] != IGNORE).sum()',
        "training/test_modules.py::test_accumulation_changes_nothing",
    ),
    (
        "positions are off by BOS",
        "revlm/training/modules.py",
        'position = batch["position_ids"][wanted] - self.prefix',
        'position = (batch["position_ids"][wanted] - self.prefix + 1) % self.window',
        "records/test_logger.py::test_every_document_is_counted_at_position_zero",
    ),
    (
        "text is shown in the order it was written",
        "revlm/models/generation.py",
        "layout.orient(_until(written[index], end), direction)",
        "_until(written[index], end)",
        "models/test_generation.py::test_reverse_writes_what_comes_before",
    ),
    (
        "text is reversed before it is tokenised",
        "revlm/data/pieces.py",
        "pieces = [piece for",
        "pieces = [piece[::-1] for",
        "data/test_tokens.py::test_documents_are_tokenised_before_they_are_reversed",
    ),
    (
        "directions depend on the rank",
        STREAMS,
        "            seed=self.seed,\n            epoch=epoch,",
        "            seed=self.seed + self.share.rank,\n            epoch=epoch,",
        "data/test_streams.py::test_ranks_and_accumulation_change_nothing",
    ),
    (
        "a reversed copy may land on the other side",
        "revlm/data/split.py",
        'hashlib.blake2b(counts.astype("<i8").tobytes(), digest_size=16)',
        "hashlib.blake2b(text.encode(), digest_size=16)",
        "data/test_corpus.py",
    ),
    (
        "training reads held-out documents",
        STREAMS,
        "self.docs = np.flatnonzero(~store.held_out)",
        "self.docs = np.arange(len(store))",
        "data/test_streams.py::test_train_and_validation_share_no_document",
    ),
    (
        "resamples weigh a batch's documents, not the corpus's",
        "revlm/measures/curves.py",
        "poisson_weights(docs.cpu().numpy(), self.resamples, self.seed)",
        "poisson_weights(np.arange(len(docs)), self.resamples, self.seed)",
        "measures/test_curves.py::test_bootstrap_intervals_follow_documents",
    ),
    (
        "reverse losses stay in the order in which they were read",
        "revlm/measures/scoring.py",
        "                nll[direction.number, order] = body\n",
        "                nll[direction.number, at : at + length] = body\n",
        "measures/test_scoring.py::test_losses_stand_at_their_token",
    ),
    (
        "the scorer reads forward twice",
        "revlm/measures/scoring.py",
        "for direction in directions for item in items]",
        (
            "for direction in directions for item in items]\n"
            "                rows = [(Direction.FORWARD, item) for _, item in rows]"
        ),
        "measures/test_scoring.py::test_scores_equal_a_naive_loop",
    ),
    (
        "a marker is believed without its checksum",
        "revlm/scores/shards.py",
        ' and said["sha256"] == file_hash(path)',
        "",
        "scores/test_shards.py::test_a_damaged_shard_is_named_and_scored_again",
    ),
    (
        "a run goes on with another model",
        "revlm/scores/shards.py",
        "if begun.get(name) != value:",
        'if begun.get(name) != value and name != "model":',
        "scores/test_shards.py::test_a_run_never_goes_on_with_something_else",
    ),
    (
        "a continued run begins its data anew",
        "revlm/data/datamodule.py",
        "return StatefulDataLoader(",
        "return DataLoader(",
        "training/test_resume.py::test_a_killed_run_continues_to_the_bit[0]",
    ),
    (
        "a checkpoint counts before the record holds its step",
        "revlm/training/checkpoints.py",
        "            trainer.save_checkpoint(self.waiting)\n            self._waits = True\n",
        "            trainer.save_checkpoint(self.path)\n",
        "records/test_logger.py::test_no_checkpoint_runs_ahead_of_the_record",
    ),
    (
        "a continued run keeps the rows behind its checkpoint",
        "revlm/records/logger.py",
        "if row[keys.STEP] <= self.step]",
        "]",
        "records/test_logger.py::test_continuing_forgets_what_lies_behind_the_checkpoint",
    ),
    (
        "windows that begin inside a document count as its first",
        "revlm/scores/merge.py",
        "windows == np.repeat(windows[starts], lengths)",
        "windows == windows",
        "scores/test_shards.py::test_curves_of_first_windows_hold_the_beginnings_alone",
    ),
    (
        "copies of a document count as documents",
        "revlm/statistics/ranks.py",
        "clusters_of(clusters, kept)",
        "clusters_of(None, kept)",
        "statistics/test_ranks.py::test_intervals_of_copies_cover",
    ),
    (
        "a verdict asks documents and no seeds",
        "revlm/statistics/effect.py",
        "told = (self.p if p is None else p) < ALPHA and self.holds",
        "told = (self.p if p is None else p) < ALPHA",
        "studies/test_verdicts.py",
    ),
    (
        "a crossing from the start counts as one",
        "revlm/studies/crossings.py",
        'row["share_never"] <= NEVER and row["low"] > 0',
        'row["share_never"] <= NEVER',
        "studies/test_quality_verdicts.py",
    ),
    (
        "an arrow in the wrong direction passes for the known one",
        "revlm/studies/null_controls.py",
        "judged(-share.side())",
        "judged(abs(share.side()))",
        "studies/test_null_controls.py",
    ),
]


def copy_project(folder: Path) -> Path:
    for name in ("revlm", "conf", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(ROOT / "README.md", folder)
    return folder


def run_tests(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_line_to_break_is_there():
    """A bug that cannot be planted any more finds nothing; the tests that plant them are slow."""
    places = {bug[0]: (ROOT / bug[1]).read_text().count(bug[2]) for bug in BUGS}
    assert {bug: count for bug, count in places.items() if count != 1} == {}


def test_every_test_that_must_find_one_is_there():
    """A test that has moved finds nothing either."""
    for bug in BUGS:
        file, _, name = bug[4].partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / TESTS / file).read_text(), bug[0]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_copy_passes_without_a_planted_bug(tmp_path):
    """What follows fails because of the bugs, not because of the copy."""
    tests = sorted({f"{TESTS}/{bug[4]}" for bug in BUGS})
    run = run_tests(copy_project(tmp_path), *tests)
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=[bug[0].replace(" ", "-") for bug in BUGS])
def test_a_planted_bug_is_found(tmp_path, bug):
    """The test that names the law fails when the law is broken."""
    _, file, right, planted, test = bug
    path = copy_project(tmp_path) / file
    source = path.read_text()
    assert source.count(right) == 1, f"the line to break stands {source.count(right)} times in {file}"
    path.write_text(source.replace(right, planted))
    run = run_tests(tmp_path, f"{TESTS}/{test}")
    assert run.returncode == 1, run.stdout[-3000:]
    assert " failed" in run.stdout
