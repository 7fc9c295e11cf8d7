"""Runs that are killed, continued, and run by several processes."""

import json
import signal
import time

import pytest
import torch

from revlm.records.folder import check_same_run, write_config
from tests.training.runs import DDP, SMOKE, assert_same_run, rows, signalled


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_continues_to_the_bit(tmp_path, python, revlm_command, cache_dir, workers):
    """SIGKILL in the middle and the same command again: same batches, same losses, same weights."""
    options = (*SMOKE, f"data.num_workers={workers}", "trainer.checkpoint_every_n_steps=7", "ckpt_path=last")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    revlm_command("train", *options, f"run.dir={whole}", check=True)
    signalled([python, "-m", "revlm.train", *options, f"run.dir={killed}"], killed, signal.SIGKILL, cache_dir)
    assert not (killed / "summary.json").exists()
    continued = revlm_command("train", *options, f"run.dir={killed}", check=True)
    assert "starting afresh" not in continued.stdout
    assert_same_run(killed, whole)


@pytest.mark.process
def test_two_processes_train_as_one(tmp_path, revlm_command):
    """Two gloo processes and one process take the same steps on the same global batches."""
    one, two = tmp_path / "one", tmp_path / "two"
    revlm_command("train", *SMOKE, f"run.dir={one}", check=True)
    revlm_command("train", *SMOKE, *DDP, f"run.dir={two}", check=True)
    for mine, theirs in zip(rows(two), rows(one), strict=True):
        # Sums are added in another order, so the losses agree to rounding; a crossing may move with them.
        losses = [key for key in theirs if "nll" in key or key in ("step", "tokens", "train/lr")]
        assert {k: mine[k] for k in losses} == pytest.approx({k: theirs[k] for k in losses}, rel=2e-4)
    assert (two / "model" / "model.safetensors").exists()


@pytest.mark.process
def test_two_processes_continue_to_the_bit(tmp_path, python, revlm_command, cache_dir):
    """A killed run of two gloo processes continues with bitwise the same losses."""
    options = (*SMOKE, *DDP, "ckpt_path=last")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    revlm_command("train", *options, f"run.dir={whole}", check=True)
    signalled([python, "-m", "revlm.train", *options, f"run.dir={cut}"], cut, signal.SIGKILL, cache_dir)
    # The second rank notices the first one's death by its closed connection; its memory is not the run's.
    time.sleep(2)
    continued = revlm_command("train", *options, f"run.dir={cut}", check=True)
    assert "starting afresh" not in continued.stdout
    assert_same_run(cut, whole)


def test_continuing_under_other_options_is_refused(tmp_path, run_train):
    """What would make it another run is named; what changes no number is free."""
    from revlm.errors import UserError

    folder = run_train(tmp_path / "run", *SMOKE)
    with pytest.raises(UserError, match=r"was started with optimizer\.lr=0\.003, not 0\.1"):
        run_train(folder, *SMOKE, "ckpt_path=last", "optimizer.lr=0.1")
    run_train(folder, *SMOKE, "ckpt_path=last", "trainer.log_every_n_steps=3")


def test_a_run_from_before_arms_is_the_same_run(tmp_path):
    """What it is called is no part of what it trains, and old options name no arm."""
    write_config(tmp_path, {"seed": 0})
    check_same_run(tmp_path, {"seed": 0, "arm": "mine"})


def test_a_finished_folder_is_not_overwritten(tmp_path, run_train):
    """Starting again in a folder with a run needs ckpt_path=last or another folder."""
    from revlm.errors import UserError

    folder = run_train(tmp_path / "run", *SMOKE)
    before = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"holds a finished run: continue it with ckpt_path=last"):
        run_train(folder, *SMOKE)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_the_record_is_the_same_for_any_micro_batch(tmp_path, run_train):
    """train/nll is the mean over the step's tokens, however it is cut into micro-batches."""
    losses = []
    for micro in (4, 1):
        folder = run_train(
            tmp_path / str(micro), *SMOKE, f"budget.micro_batch_size={micro}", "optimizer.lr=1e-4"
        )
        losses.append([row["train/nll"] for row in rows(folder) if "train/nll" in row])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_other_micro_batches_are_refused_on_continuing(tmp_path):
    """Progress is counted in micro-batches, so their number in a step must stay."""
    from revlm.errors import UserError
    from revlm.training.checkpoints import LastCheckpoint

    with pytest.raises(UserError, match="4 micro-batches in a step, not 2"):
        LastCheckpoint(tmp_path, accumulate=2, every_n_steps=None).load_state_dict({"accumulate": 4})


def test_a_run_that_died_behind_its_last_step_is_finished_by_the_same_command(tmp_path, run_train):
    """Without its summary a trained run writes its results anew, and they are the same."""
    folder = run_train(tmp_path / "run", *SMOKE)
    before, metrics = json.loads((folder / "summary.json").read_text()), rows(folder)
    (folder / "summary.json").unlink()
    run_train(folder, *SMOKE, "ckpt_path=last")
    after = json.loads((folder / "summary.json").read_text())
    clock = ("seconds", "tokens_per_second", "peak_memory_mb", "peak_flops", "mfu")
    assert {k: v for k, v in after.items() if k not in clock} == {
        k: v for k, v in before.items() if k not in clock
    }
    assert rows(folder) == metrics


def test_a_longer_budget_goes_on_where_the_run_stopped(tmp_path, run_train):
    """A finished run continues when its budget grows; the old rows stay as they are."""
    folder = run_train(tmp_path / "run", *SMOKE, "optimizer.schedule=constant")
    before = rows(folder)
    # The new run validates at other steps than the old one.
    run_train(folder, *SMOKE, "optimizer.schedule=constant", "ckpt_path=last", "budget.tokens=15_000")
    assert rows(folder)[: len(before)] == before
    assert before[-1]["step"] == 38
    assert [row["step"] for row in rows(folder) if "train/nll" in row] == list(range(1, 59))


def test_checkpoints_hold_plain_data(smoke_run):
    """A checkpoint loads without running anything that is inside it."""
    checkpoint = torch.load(smoke_run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] > 0


@pytest.mark.process
def test_a_nan_loss_stops_the_run_and_names_the_step(tmp_path, revlm_command):
    """A diverged run ends with one line and exit code 2, not 'finished'."""
    run = revlm_command(
        "train",
        *SMOKE,
        f"run.dir={tmp_path / 'nan'}",
        "optimizer.lr=1e30",
        "optimizer.clip_norm=0",
        "optimizer.warmup=0",
    )
    assert run.returncode == 2
    assert "the loss or its gradient is" in run.stderr
    assert " at step " in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "nan" / "summary.json").exists()


@pytest.mark.process
def test_a_folder_in_use_is_refused(tmp_path, revlm_command, cache_dir):
    """Two processes cannot write one run."""
    from filelock import FileLock

    folder = tmp_path / "run"
    folder.mkdir()
    with FileLock(folder / ".lock"):
        run = revlm_command("train", *SMOKE, f"run.dir={folder}")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "is in use by another process" in run.stderr
    assert not (folder / "config.yaml").exists()


@pytest.mark.parametrize(("schedule", "said"), [("cosine", True), ("constant", False)])
def test_a_rate_that_jumps_is_said_before_it_does(tmp_path, run_train, capsys, schedule, said):
    """Twice the budget is another cosine: the rate of the step where the run goes on is higher than it was."""
    folder = run_train(tmp_path / "run", *SMOKE, f"optimizer.schedule={schedule}")
    capsys.readouterr()
    run_train(folder, *SMOKE, f"optimizer.schedule={schedule}", "ckpt_path=last", "budget.tokens=20_000")
    assert ("the learning rate goes from" in capsys.readouterr().out) == said
