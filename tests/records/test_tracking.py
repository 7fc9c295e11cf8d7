"""The local record, W&B's real offline files, and what a run leaves behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from revlm.records.tracking import LocalRecord
from transformers import AutoModelForCausalLM, AutoTokenizer

from revlm import keys

CONTRACT = (
    "config.yaml",
    "metrics.jsonl",
    "curves.csv",
    "curves_first.csv",
    "curves_interval.csv",
    "intersection.json",
    "summary.json",
    "samples.txt",
    "figures/loss_by_direction.png",
    "figures/position_curves.png",
    "checkpoints/last.ckpt",
    "model/model.safetensors",
    "model/tokenizer.json",
    "model/revlm.json",
)


def read_json(path):
    return json.loads(path.read_text())


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_every_file_of_the_contract_is_there(smoke_run):
    """Scripts of others read these."""
    assert [name for name in CONTRACT if not (smoke_run / name).is_file()] == []
    assert list((smoke_run / "wandb").glob("offline-run-*/run-*.wandb"))


def test_the_summary_is_the_last_validation(smoke_run):
    """summary.json, metrics.jsonl and curves.csv tell the same losses."""
    summary, last = (
        read_json(smoke_run / "summary.json"),
        [r for r in rows_of(smoke_run) if keys.VAL_GAP in r][-1],
    )
    assert summary["nll_forward"] == last[keys.VAL_NLL_FORWARD]
    assert summary["gap"] == pytest.approx(last[keys.VAL_NLL_REVERSE] - last[keys.VAL_NLL_FORWARD])
    curves = pd.read_csv(smoke_run / "curves.csv")
    assert list(curves.columns) == ["step", "direction", "position", "nll", "count"]
    end = curves[(curves.step == curves.step.max()) & (curves.direction == "forward")]
    assert np.average(end.nll, weights=end["count"]) == pytest.approx(summary["nll_forward"], abs=1e-5)
    assert sorted(curves.step.unique()) == [r["step"] for r in rows_of(smoke_run) if keys.VAL_GAP in r]


def test_both_directions_are_validated_on_the_same_tokens(smoke_run):
    """Counts by position agree between the directions, in all windows and in first ones."""
    for name in ("curves.csv", "curves_first.csv"):
        counts = pd.read_csv(smoke_run / name).pivot_table(
            index=["step", "position"], columns="direction", values="count"
        )
        assert (counts["forward"] == counts["reverse"]).all()


def test_every_document_is_counted_at_position_zero(smoke_run):
    """Position 0 is the first body token: every document has it once, and no row has more positions than the window."""
    first = pd.read_csv(smoke_run / "curves_first.csv")
    documents = read_json(smoke_run / "summary.json")["num_val_documents"]
    assert (first[first.position == 0]["count"] == documents).all()
    assert (first[first.position == 1]["count"] == documents).all()
    curves = pd.read_csv(smoke_run / "curves.csv")
    assert curves.position.max() == 63
    assert curves[curves.position == 63]["count"].min() < curves[curves.position == 0]["count"].min()


def test_intersections_say_their_rule(smoke_run):
    """A crossing stands beside the smoothing, hold, window and resamples it comes from."""
    for crossing in read_json(smoke_run / "intersection.json").values():
        assert {"position", "low", "high", "share_never", "rule", "smoothing", "hold", "window"} <= set(
            crossing
        )


def test_config_yaml_is_resolved(smoke_run):
    """The options can be read without Hydra, and hold no interpolation."""
    text = (smoke_run / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert "${" not in text
    assert config["direction"]["module"] == "mixed"


def test_the_exported_model_opens_in_plain_transformers(smoke_run):
    """Weights and tokenizer load, and give the losses of the checkpoint."""
    model = AutoModelForCausalLM.from_pretrained(smoke_run / "model")
    tokenizer = AutoTokenizer.from_pretrained(smoke_run / "model")
    checkpoint = torch.load(smoke_run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, checkpoint[f"model.{name}"])
    assert len(tokenizer) == model.config.vocab_size
    facts = read_json(smoke_run / "model" / "revlm.json")
    assert facts["directions"] == ["forward", "reverse"]
    summary = read_json(smoke_run / "summary.json")
    for key in ("name", "seed", "language", "window", "corpus_fingerprint"):
        assert facts[key] == summary[key]
    assert facts["arm"] == "from_scratch_mixed_en"


def wandb_lines(folder):
    """What W&B's own reader finds in a run's offline files."""
    wandb = shutil.which("wandb", path=str(Path(sys.executable).parent))
    run = next((folder / "wandb").glob("offline-run-*"))
    said = subprocess.run(
        [wandb, "leet", "inspect", "--json", str(run)], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in said.stdout.splitlines()]


def wandb_records(folder):
    """Of a run's offline files: (history rows, exit codes)."""
    records = wandb_lines(folder)
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    exits = [record["exit"].get("exit_code") for record in records if record["type"] == "exit"]
    return history, exits


def test_wandb_files_hold_what_the_local_record_holds(smoke_run):
    """Row by row, W&B's offline files tell the losses, speeds and crossings of metrics.jsonl."""
    history, exits = wandb_records(smoke_run)
    for row in rows_of(smoke_run):
        wanted = {key: value for key, value in row.items() if value is not None}
        assert any(wanted.items() <= {k: item.get(k) for k in wanted}.items() for item in history), row
    assert exits == [0]


def test_wandb_gets_curves_as_scalars_and_as_a_chart_and_samples(smoke_run):
    """Terminal dashboards draw scalars only; the web draws the chart; both find the texts."""
    history, _ = wandb_records(smoke_run)
    logged = {key for item in history for key in item}
    assert {keys.curve(d, p) for d in ("forward", "reverse") for p in (0, 1, 2, 4, 63)} <= logged
    assert any(key.startswith("curve/by_position") for key in logged)
    assert any(key.startswith("samples") for key in logged)


def test_a_row_is_written_once_and_half_rows_are_dropped(tmp_path):
    """Continuing forgets what lies behind the checkpoint and what a killed process half wrote."""
    path = tmp_path / "metrics.jsonl"
    record = LocalRecord(path)
    for step in (1, 2, 3):
        assert record.write({"step": step, "train/nll": 5.0})
    assert not record.write({"step": 3, "train/nll": 4.0})
    with path.open("a") as file:
        file.write('{"step": 4, "train')
    fresh = LocalRecord(path)
    fresh.truncate(2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]
    assert fresh.write({"step": 3, "train/nll": 4.0})


def test_samples_are_shown_in_reading_order(smoke_run):
    """The given part of a held-out text stands first in forward samples and last in reverse ones."""
    samples = (smoke_run / "samples.txt").read_text().strip().split("\n\n")
    text = (smoke_run / "samples.txt").read_text()
    assert text.startswith("forward: [")
    reverse = text[text.index("\n\nreverse: ") :].rstrip()
    assert reverse.endswith("]")
    assert samples


@pytest.mark.process
@pytest.mark.parametrize(
    ("options", "env", "said"),
    [
        (("logger.project=a/b",), {}, "W&B is off from here"),
        (
            ("logger=wandb_online",),
            {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40},
            "offline",
        ),
    ],
)
def test_no_trouble_of_wandb_costs_a_run(revlm_command, tmp_path, options, env, said):
    """A project that W&B refuses and a server that does not answer leave the local record whole."""
    folder = tmp_path / "run"
    run = revlm_command("train", "scale=smoke", "budget.tokens=2_000", f"run.dir={folder}", *options, **env)
    assert run.returncode == 0, run.stderr
    assert said in run.stdout
    assert (folder / "summary.json").exists()


@pytest.mark.process
def test_jobs_of_a_sweep_are_runs_of_their_own(revlm_command, tmp_path):
    """Each job of a multirun has its folder and its own finished W&B run."""
    run = revlm_command(
        "train", "-m", "+experiment=from_scratch_forward", "scale=smoke", "seed=0,1", "budget.tokens=2_000",
        f"run.root={tmp_path}", "run.id=s",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    folders = sorted((tmp_path / "from_scratch_forward").iterdir())
    assert [f.name for f in folders] == ["s_0", "s_1"]
    assert [read_json(f / "summary.json")["seed"] for f in folders] == [0, 1]
    runs = [p.name for f in folders for p in (f / "wandb").glob("offline-run-*/run-*.wandb")]
    assert len(set(runs)) == 2
