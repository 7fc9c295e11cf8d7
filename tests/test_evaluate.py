"""The command: one line for what is wrong, and a folder that holds all there is to know."""

import json
import shutil

import pytest
from omegaconf import OmegaConf

from revlm.pages.evaluations import find_evaluations, read_evaluation
from tests.records.test_logger import wandb_records

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def model(smoke_run):
    return str(smoke_run / "model")


@pytest.fixture(scope="module")
def finished(model, revlm_command, tmp_path_factory):
    """Three directions of one model over two tasks, done once."""
    folder = tmp_path_factory.mktemp("evaluate")
    arguments = (
        f"model={model}",
        "tasks=[piqa,openbookqa]",
        "direction=[forward,reverse,combined]",
        "direction.weight=0.5",
        "limit=6",
    )
    run = revlm_command("evaluate", *arguments, cwd=folder, check=False)
    assert run.returncode == 0, run.stderr
    return run, folder, arguments


def test_every_arm_has_its_files_and_the_table_sets_them_side_by_side(finished):
    """results.json, samples and W&B for each direction; table.md over all; the folder is printed last."""
    run, where, _ = finished
    folder = where / run.stdout.splitlines()[-1]
    arms = {read_evaluation(arm).facts["direction"]: arm for arm in find_evaluations(folder)}
    assert arms.keys() == {"forward", "reverse", "combined"}
    for arm in arms.values():
        facts = read_evaluation(arm).facts
        assert (facts["model_arm"], facts["model_seed"]) == ("from_scratch_mixed_en", 0)
        assert [len(rows) for rows in read_evaluation(arm).samples.values()] == [6, 6]
        assert list(arm.glob("wandb/offline-run-*/*.wandb"))
    table = (folder / "table.md").read_text()
    assert table.strip() in run.stdout
    assert "combined weight 0.5" in table
    assert "## Paired differences" in table
    assert OmegaConf.load(folder / "config.yaml").tasks == ["piqa", "openbookqa"]


def test_combined_adds_what_the_other_arms_measured(finished):
    """Forward plus half of reverse, question by question, decides the combined answers."""
    run, where, _ = finished
    folder = where / run.stdout.splitlines()[-1]
    arms = {read_evaluation(arm).facts["direction"]: read_evaluation(arm) for arm in find_evaluations(folder)}
    for task in ("piqa", "openbookqa"):
        rows = zip(*(arms[name].samples[task] for name in ("forward", "reverse", "combined")), strict=True)
        for forward, reverse, combined in rows:
            sums = [
                a + 0.5 * b
                for a, b in zip(
                    forward["loglikelihood_forward"], reverse["loglikelihood_reverse"], strict=True
                )
            ]
            assert combined["acc"] == float(sums.index(max(sums)) == combined["gold"])


def test_wandb_gets_each_task(finished):
    """Accuracy and standard error of every task, under names with the direction."""
    run, where, _ = finished
    folder = where / run.stdout.splitlines()[-1]
    arm = next(arm for arm in find_evaluations(folder) if arm.name.endswith("reverse"))
    history, exits = wandb_records(arm)
    expected = read_evaluation(arm).results["piqa"]
    logged = {key: value for row in history for key, value in row.items()}
    assert logged["evaluate/piqa/reverse/acc"] == pytest.approx(expected["acc,none"])
    assert logged["evaluate/piqa/reverse/acc_stderr"] == pytest.approx(expected["acc_stderr,none"])
    assert exits == [0]


def test_the_same_command_does_nothing_twice(finished, revlm_command):
    """Its folder follows from the options: what is finished is read, and the same table printed."""
    run, where, arguments = finished
    again = revlm_command("evaluate", *arguments, cwd=where)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is finished already.") == 3
    assert again.stdout.endswith(run.stdout[run.stdout.index("## Evaluation") :])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tasks=[openbokqa]",), "tasks: there is no task openbokqa. Did you mean openbookqa"),
        (
            ("tasks=[piqa]", "direction=backward"),
            "direction=backward: choose one of forward, reverse, combined",
        ),
        (("tasks=[piqa]", "limit=0"), "limit=0: set it to 1 or more."),
        (("tasks=[piqa]", "num_fewshot=-1"), "num_fewshot=-1: set it to 0 or more."),
        (("tasks=[nowhere.jsonl]",), "nowhere.jsonl: there is no such file of questions."),
        (("tasks=[piqa]", "model=nowhere/at/all"), "nowhere/at/all: there is no such folder"),
        (("tasks=[piqa]", "model.reverse=x"), "evaluate takes model=, or a list."),
        ((), "tasks= must be given."),
        (("tasks=[piqa]", "tsks=[mmlu]"), "tsks: there is no such option. Did you mean tasks?"),
    ],
)
def test_a_mistake_is_one_line(model, revlm_command, tmp_path, arguments, said):
    """What is wrong and the way out, exit code 2, no traceback, no results."""
    run = revlm_command("evaluate", f"model={model}", *arguments, cwd=tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr
    assert said in run.stderr
    assert not find_evaluations(tmp_path)


def test_a_direction_that_the_model_lacks_is_refused_by_name_unless_allowed(model, revlm_command, tmp_path):
    """A forward model's reverse is no model of text; allow=true measures its bias."""
    shutil.copytree(model, tmp_path / "forward_only")
    facts = tmp_path / "forward_only" / "revlm.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"directions": ["forward"]}))
    arguments = ("model=forward_only", "tasks=[openbookqa]", "direction=reverse", "limit=2", "logger=none")
    refused = revlm_command("evaluate", *arguments, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "from_scratch_mixed_en_0 was trained forward, not reverse: set allow=true" in refused.stderr
    assert not find_evaluations(tmp_path)
    allowed = revlm_command("evaluate", *arguments, "allow=true", cwd=tmp_path)
    assert allowed.returncode == 0, allowed.stderr
    (folder,) = find_evaluations(tmp_path)
    assert read_evaluation(folder).facts["directions"] == ["forward"]
    assert not (folder / "wandb").exists()


def test_other_weights_do_not_pass_for_a_finished_evaluation(model, revlm_command, tmp_path):
    """A model that was trained anew under the same name is not answered with the old numbers."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, tmp_path / "mine")
    arguments = ("model=mine", "tasks=[openbookqa]", "limit=2", "logger=none")
    assert revlm_command("evaluate", *arguments, cwd=tmp_path).returncode == 0
    weights = tmp_path / "mine" / "model.safetensors"
    changed = {name: torch.clone(tensor) * 1.01 for name, tensor in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    run = revlm_command("evaluate", *arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert "holds results of other weights: choose another run.dir=" in run.stderr
