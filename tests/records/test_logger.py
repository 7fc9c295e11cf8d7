"""The local record, W&B's real offline files, and what a run leaves behind."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import LearningRateMonitor, ThroughputMonitor
from lightning.pytorch.utilities import rank_zero_only
from transformers import AutoModelForCausalLM, AutoTokenizer

from revlm import keys
from revlm.config import LoggerConfig, WandbMode
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.curve_files import CURVES, INTERSECTION, INTERVALS
from revlm.records.logger import RunLogger
from revlm.training.checkpoints import AtomicCheckpointIO, LastCheckpoint, step_of
from revlm.training.modules import MixedLM
from revlm.training.throughput import Clock
from tests.training.test_modules import datamodule, module

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
    assert summary["s"] == -summary["gap"]
    assert summary["gap"] == pytest.approx(last[keys.VAL_NLL_REVERSE] - last[keys.VAL_NLL_FORWARD])
    curves = pd.read_csv(smoke_run / "curves.csv")
    assert list(curves.columns) == ["step", "direction", "position", "nll", "count"]
    end = curves[(curves.step == curves.step.max()) & (curves.direction == "forward")]
    assert np.average(end.nll, weights=end["count"]) == pytest.approx(summary["nll_forward"], abs=1e-5)
    assert sorted(curves.step.unique()) == [r["step"] for r in rows_of(smoke_run) if keys.VAL_GAP in r]


def test_the_summary_says_what_counting_reaches(smoke_run):
    """Losses of n-gram models in both directions: better than knowing nothing, and near to each other."""
    summary = read_json(smoke_run / "summary.json")
    counted = summary["counted_nll"]
    assert [(side, *orders) for side, orders in counted.items()] == [
        (side, "2", "3", "4") for side in Direction
    ]
    losses = np.array([list(orders.values()) for orders in counted.values()])
    assert (losses < np.log(summary["vocab_size"])).all()
    assert np.abs(losses[0] - losses[1]).max() < 0.1 * losses.min()


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


NONE = LoggerConfig(wandb=WandbMode.none)
# Four steps of two micro-batches, a checkpoint at steps 1 and 3 and behind the validations at 2 and 4.
STEPS, ACCUMULATE = 4, 2


class Watch(L.Callback):
    """Looks at the files of a run at every hook, as a process would that continues it after a SIGKILL."""

    def __init__(self, folder):
        self.folder, self.seen = folder, set()

    def look(self, *args, **kwargs):
        """Each step up to the checkpoint's has its row, with all that was logged, and none has two."""
        path = self.folder / "checkpoints" / "last.ckpt"
        step = step_of(path) if path.exists() else 0
        self.seen.add(step)
        rows = [row for row in rows_of(self.folder) if keys.TRAIN_NLL in row]
        assert [row["step"] for row in rows if row["step"] <= step] == list(range(1, step + 1))
        assert all("mine" in row for row in rows)

    on_train_batch_start = on_train_batch_end = on_before_zero_grad = on_train_end = look
    on_validation_start = on_validation_end = on_before_backward = look


class Watched(MixedLM):
    """A module of a user's own, which logs one number more behind all callbacks and looks at the files there."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.log("mine", float(batch_idx))
        for callback in self.trainer.callbacks:
            if isinstance(callback, Watch):
                callback.look()


def fit(folder, lm, data, *callbacks, checkpoint=None, step=-1, **options):
    """Train a module with a `RunLogger`."""
    logger = RunLogger(folder, NONE, {}, step=step)
    last = LastCheckpoint(folder / "checkpoints", accumulate=ACCUMULATE, every_n_steps=1)
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, accumulate_grad_batches=ACCUMULATE, default_root_dir=folder,
        val_check_interval=STEPS * ACCUMULATE // 2, num_sanity_val_steps=-1 if checkpoint is None else 0,
        gradient_clip_val=1.0, callbacks=[Clock(), logger, *callbacks, last], plugins=[AtomicCheckpointIO()],
        **options,
    )  # fmt: skip
    trainer.fit(lm, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return trainer


def small(cache_dir):
    """A corpus for a few steps."""
    return datamodule(cache_dir, micro_batch_size=8 // ACCUMULATE, validations=2)


def test_lightnings_own_monitors_reach_the_record(tiny_lm, cache_dir, tmp_path):
    """What callbacks and self.log name joins the one row of its step; Lightning leaves no files of its own."""
    monitors = [
        LearningRateMonitor(logging_interval="step"),
        ThroughputMonitor(batch_size_fn=lambda batch: len(batch["input_ids"]), window_size=2),
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*(flops_per_batch|tensorboardX).*")
        trainer = fit(tmp_path, module(Watched, tiny_lm), small(cache_dir), *monitors)
    rows = rows_of(tmp_path)
    assert [(row["step"], keys.VAL_GAP in row) for row in rows] == [
        (0, True), (1, False), (2, False), (2, True), (3, False), (4, False), (4, True),
    ]  # fmt: skip
    steps = [row for row in rows if keys.TRAIN_NLL in row]
    assert [row["mine"] for row in steps] == [1.0, 3.0, 5.0, 7.0]
    for row in steps:
        assert list(row)[:2] == ["step", "tokens"]
        assert row["tokens"] == row["step"] * 8 * 65
        assert row["lr-AdamW/pg1"] == row[keys.TRAIN_LR]
        assert row["train/samples"] == 8 * row["step"]
        assert not {"epoch", "v_num"} & set(row)
    assert steps[-1]["train/device/flops_per_sec"] > 0
    assert {"validate/batches"} <= set(rows[-1])
    assert trainer.lightning_module.flops_per_batch == trainer.lightning_module.flops_per_token * 4 * 65
    files = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"metrics.jsonl", "checkpoints", *CURVES.values(), INTERVALS, INTERSECTION}


def test_no_checkpoint_runs_ahead_of_the_record(tiny_lm, cache_dir, tmp_path):
    """At no hook does a checkpoint exist whose own step, with all that it logged, is not in the record."""
    watch = Watch(tmp_path)
    fit(tmp_path, module(Watched, tiny_lm), small(cache_dir), watch)
    assert watch.seen == {0, 1, 2, 3, 4}


def test_continuing_forgets_what_lies_behind_the_checkpoint(tiny_lm, cache_dir, tmp_path):
    """Rows behind it, and half a row of a killed process, are dropped and written again, to the bit."""
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    kept = tmp_path / "three.ckpt"

    class Keep(L.Callback):
        def on_validation_start(self, trainer, *args):
            if trainer.global_step == 4:
                shutil.copy(checkpoint, kept)

    fit(tmp_path, module(Watched, tiny_lm), small(cache_dir), Keep())
    before, curves = timeless(tmp_path), (tmp_path / "curves.csv").read_bytes()
    # As another attempt may have left them: other numbers, and half a row.
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"mine": 7.0', '"mine": 8.0') + '{"step": 5, "train')
    assert step_of(kept) == 3
    fit(tmp_path, module(Watched, tiny_lm), small(cache_dir), checkpoint=kept, step=3)
    assert timeless(tmp_path) == before
    assert (tmp_path / "curves.csv").read_bytes() == curves


def timeless(folder):
    """Rows without the number that a clock makes."""
    return [{k: v for k, v in row.items() if k != keys.TOKENS_PER_SECOND} for row in rows_of(folder)]


def test_a_failing_step_leaves_no_row(tiny_lm, cache_dir, tmp_path):
    """The record holds the steps that were taken, and not the numbers of one that stopped the run."""

    class Fails(L.Callback):
        def on_before_optimizer_step(self, trainer, *args):
            if trainer.global_step == 2:
                raise UserError("stop")

    monitor = LearningRateMonitor(logging_interval="step")
    with pytest.raises(UserError, match="stop"):
        fit(tmp_path, module(Watched, tiny_lm), small(cache_dir), monitor, Fails())
    assert [row["step"] for row in rows_of(tmp_path)] == [0, 1, 2, 2]


def test_numbers_that_json_lacks_are_null(tiny_lm, cache_dir, tmp_path):
    """A nan, an infinity and a tensor leave rows that any reader of JSON takes."""

    class Odd(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            trainer.logger.log_metrics(
                {"nan": float("nan"), "inf": torch.tensor(torch.inf), "one": torch.ones(1)}
            )

    fit(tmp_path, module(Watched, tiny_lm), small(cache_dir), Odd())
    row = [row for row in rows_of(tmp_path) if keys.TRAIN_NLL in row][-1]
    assert (row["nan"], row["inf"], row["one"]) == (None, None, 1.0)


def test_other_ranks_write_nothing(tiny_lm, cache_dir, tmp_path, monkeypatch):
    """The first rank keeps the record."""
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = RunLogger(tmp_path, NONE, {}, step=-1)
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path, callbacks=[logger],
    )  # fmt: skip
    trainer.fit(module(MixedLM, tiny_lm), datamodule=datamodule(cache_dir))
    logger.close()
    assert not list(tmp_path.iterdir())


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
