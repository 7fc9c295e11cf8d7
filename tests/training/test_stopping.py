"""Runs that are asked to end: they save, say so, and continue to the bit."""

import os
import signal
import sys

import pytest

from revlm.stopping import Stopped
from revlm.training import stopping
from revlm.training.modules import DirectionalLM
from tests.training.runs import DDP, SMOKE, assert_same_run, rows, signalled

QUIET = (*SMOKE, "trainer.progress_bar=false", "ckpt_path=last")


@pytest.fixture(scope="module")
def whole(run_train, tmp_path_factory):
    """A run that nobody stops."""
    return run_train(tmp_path_factory.mktemp("whole") / "run", *QUIET)


def said(number, folder, step):
    """What a run says that is stopped behind a step."""
    return (
        f"stopped by {signal.Signals(number).name}: step {step} is saved: "
        f"the same command with run.dir={folder} ckpt_path=last continues.\n"
    )


def assert_saved(process, number, folder):
    """A process has ended with the signal's exit code, one line, and the step of its last row as its checkpoint."""
    step = rows(folder)[-1]["step"]
    # Lightning has words of its own about several ranks.
    lines = process.stderr.splitlines(keepends=True)
    own = (
        [line for line in lines if "stopped by" in line] if "Initializing distributed" in lines[0] else lines
    )
    assert (process.returncode, own) == (128 + number, [said(number, folder, step)])
    assert "Traceback" not in process.stderr
    assert 26 <= step < 38
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert not (folder / "summary.json").exists()


@pytest.mark.process
def test_a_run_that_is_asked_to_end_continues_to_the_bit(tmp_path, python, revlm_command, cache_dir, whole):
    """SIGTERM between two checkpoints: exit code 143, one line, and the same command goes on from that step."""
    folder = tmp_path / "run"
    options = (*QUIET, f"run.dir={folder}")
    process = signalled([python, "-m", "revlm.train", *options], folder, signal.SIGTERM, cache_dir)
    assert_saved(process, signal.SIGTERM, folder)
    continued = revlm_command("train", *options, check=True)
    assert "starting afresh" not in continued.stdout
    assert_same_run(folder, whole)


@pytest.fixture
def asked(tmp_path, run_train, monkeypatch):
    """A run that a signal reaches inside a method of its module, the first time after a step: its line and its folder."""

    def run(name, step, *options):
        folder, method = tmp_path / "run", getattr(DirectionalLM, name)

        def interrupted(module, *args):
            if module.trainer.global_step == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return method(module, *args)

        with monkeypatch.context() as patched:
            patched.setattr(DirectionalLM, name, interrupted)
            with pytest.raises(Stopped) as stopped:
                run_train(folder, *QUIET, *options)
        return f"{stopped.value}\n", folder

    return run


def test_a_signal_before_the_first_step_finds_nothing_to_save(asked, run_train, whole):
    """The validation before the first step is left at once; the same command begins again."""
    text, folder = asked("validation_step", 0)
    assert "in the validation at step 0, which is not saved: there is no checkpoint yet" in text
    assert not (folder / "checkpoints").exists()
    assert rows(folder) == []
    assert_same_run(run_train(folder, *QUIET), whole)


@pytest.mark.parametrize("method", ["training_step", "validation_step"])
def test_a_validation_is_finished_if_there_is_time(asked, run_train, whole, method):
    """A signal in it, or in the step before it, ends the run behind its checkpoint."""
    text, folder = asked(method, {"training_step": 18, "validation_step": 19}[method])
    assert text == said(signal.SIGTERM, folder, 19)
    assert_same_run(run_train(folder, *QUIET), whole)


def test_a_long_validation_is_left(asked, run_train, whole, monkeypatch):
    """The run says that it is, and goes on from the checkpoint before."""
    monkeypatch.setattr(stopping, "SECONDS_TO_VALIDATE", -1)
    text, folder = asked("validation_step", 38)
    assert "in the validation at step 38, which is not saved: the same command with run.dir=" in text
    assert rows(folder)[-1]["step"] == 38
    assert_same_run(run_train(folder, *QUIET), whole)


def test_a_step_of_several_micro_batches_is_finished(asked, run_train, tmp_path):
    """A signal in the first of them ends the run behind the last: no gradient is lost."""
    micro = "budget.micro_batch_size=1"
    text, folder = asked("training_step", 5, micro)
    assert text == said(signal.SIGTERM, folder, 6)
    assert_same_run(run_train(folder, *QUIET, micro), run_train(tmp_path / "whole", *QUIET, micro))


def test_handlers_are_as_before(asked):
    """A stopped run leaves no handler behind."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    asked("training_step", 2)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_leaves_no_traceback(tmp_path, run_train, cache_dir, whole, number):
    """^C in a terminal and schedulers reach the workers that load batches too."""
    folder = tmp_path / "run"
    workers = "data.num_workers=2"
    command = [sys.executable, "-m", "revlm.train", *QUIET, workers, f"run.dir={folder}"]
    process = signalled(command, folder, number, cache_dir, group=True)
    assert_saved(process, number, folder)
    assert_same_run(run_train(folder, *QUIET, workers), whole)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("group", [False, True])
def test_two_processes_stop_at_the_same_step(tmp_path, revlm_command, cache_dir, group):
    """A signal to the first rank or to both: all agree, none is left, and the run continues to the bit."""
    folder, options = tmp_path / "run", (*QUIET, *DDP)
    command = [sys.executable, "-m", "revlm.train", *options, f"run.dir={folder}"]
    process = signalled(command, folder, signal.SIGTERM, cache_dir, group=group)
    assert_saved(process, signal.SIGTERM, folder)
    revlm_command("train", *options, f"run.dir={folder}", check=True)
    revlm_command("train", *options, f"run.dir={tmp_path / 'whole'}", check=True)
    assert_same_run(folder, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.process
def test_a_second_signal_changes_nothing(tmp_path, run_train, cache_dir, whole):
    """Whoever cannot wait does not lose the checkpoint."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "revlm.train", *QUIET, f"run.dir={folder}"]
    process = signalled(command, folder, signal.SIGINT, cache_dir, again=[0.01] * 20)
    assert_saved(process, signal.SIGINT, folder)
    assert_same_run(run_train(folder, *QUIET), whole)
