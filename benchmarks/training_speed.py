"""How fast is training as shipped, beside what people would otherwise write or use?

python -m benchmarks.training_speed

Every way trains the same architecture on rows of 257 tokens, eight a step, and is timed over the same number of steps
behind its own warm-up. revlm runs as its command does: packed stream, clipping, record and W&B. The peers: a bare loop
(transformers' own loss, AdamW), the same loop in revlm's precision and compiled, transformers' Trainer, a plain
LightningModule, and litgpt where REVLM_LITGPT names the Python of an environment that has it (`make bench` makes one).
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.optim import AdamW
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from benchmarks.litgpt import Litgpt
from benchmarks.turns import Row, show, take_turns, times_faster
from revlm.cache import default_cache
from revlm.composition import compose, declared, plain
from revlm.config import TrainConfig
from revlm.models.backbone import from_config, from_pretrained
from revlm.models.precision import has_bfloat16_units
from revlm.records import folder as run_folder
from revlm.records.logger import RunLogger
from revlm.training import arithmetic
from revlm.training.build import build_datamodule, build_module
from revlm.training.optimizers import build_optimizer
from revlm.training.throughput import peak_flops
from revlm.training.trainer import build_trainer

ROUNDS, WARM, STEPS = 5, 3, 20
BATCH, ROW = 8, 257
UNITS = has_bfloat16_units(torch.device("cpu"))
Way = Callable[[], float]


class Watch:
    """Seconds between the end of the last warm-up step and that of the last step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def step(self) -> None:
        """A step has ended."""
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Of the steps behind the warm-up."""
        return self.ends[WARM + STEPS - 1] - self.ends[WARM - 1]


class Steps(L.Callback):
    """Tells a watch of Lightning's steps."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_batch_end(self, *_: Any) -> None:
        """One more."""
        self.watch.step()


def config_of(model: str, *options: str) -> TrainConfig:
    """The laptop run's options for so many steps."""
    tokens = f"budget.tokens={BATCH * ROW * (WARM + STEPS)}"
    validation = ("budget.validations=1", "data.max_val_tokens=2000", "curves.resamples=0")
    given = ["+experiment=from_scratch_mixed", f"model={model}", tokens, *validation, *options]
    config: TrainConfig = declared("train", compose("train", given))
    return config


def revlm(model: str, *options: str) -> float:
    """As the command trains, to its record."""
    config, watch = config_of(model, *options), Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = build_datamodule(config)
        data.open()
        module = build_module(config, data)
        arithmetic.settle(config.trainer, {}, flops=module.flops_per_token * data.num_steps)
        if config.trainer.compile:
            module.loss.compile()
        config.trainer.progress_bar = False
        run_folder.start(folder, plain(config))
        logger = RunLogger(folder, config.logger, plain(config), step=-1)
        trainer, _ = build_trainer(
            config, folder, data, module.model, fresh=False, logger=logger, callbacks=[logger, Steps(watch)]
        )
        trainer.fit(module, datamodule=data)
        logger.close()
    return watch.seconds


def rows_of(config: TrainConfig) -> torch.Tensor:
    """(steps, 8, 257) of the run's own text, without packing."""
    data = build_datamodule(config)
    data.open()
    ids = torch.from_numpy(data.store.ids[: (WARM + STEPS) * BATCH * ROW].astype("int64"))
    return ids.view(-1, BATCH, ROW)


def model_of(config: TrainConfig) -> PreTrainedModel:
    """The run's architecture with random weights."""
    data = build_datamodule(config)
    data.open()
    torch.manual_seed(0)
    return from_config(config.model, data.tokenizer, ROW).train()


def bare(model: str, *, fast: bool = False) -> float:
    """What one would write first; `fast`: in revlm's precision, compiled and with the fused optimiser."""
    config, watch = config_of(model), Watch()
    net, rows = model_of(config), rows_of(config)
    optimizer = AdamW(net.parameters(), lr=1e-3, fused=fast)
    forward = torch.compile(net, dynamic=False) if fast else net
    for ids in rows:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast and UNITS):
            loss = forward(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    return watch.seconds


class Rows(Dataset):
    """Rows one by one, for loaders."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows.view(-1, ROW)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def trainer_of_transformers(model: str) -> float:
    """The Trainer of transformers with its defaults, which clip and log too."""
    config, watch = config_of(model), Watch()

    class Told(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            watch.step()

    transformers_logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder, per_device_train_batch_size=BATCH, max_steps=WARM + STEPS, logging_steps=10, save_strategy="no",
            report_to="none", disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        Trainer(model_of(config), options, train_dataset=Rows(rows_of(config)), callbacks=[Told]).train()
    return watch.seconds


class PlainModule(L.LightningModule):
    """Lightning's first tutorial around the model."""

    def __init__(self, net: PreTrainedModel) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """Transformers' loss."""
        loss: torch.Tensor = self.net(**batch, use_cache=False).loss
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> AdamW:
        """As the bare loop."""
        return AdamW(self.net.parameters(), lr=1e-3)


def plain_lightning(model: str) -> float:
    """A plain LightningModule with clipping and a CSV log."""
    config, watch = config_of(model), Watch()
    loader = torch.utils.data.DataLoader(Rows(rows_of(config)), BATCH)
    with tempfile.TemporaryDirectory() as folder:
        L.Trainer(
            accelerator="cpu", max_epochs=1, gradient_clip_val=1.0, log_every_n_steps=10, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder, callbacks=[Steps(watch)],
            logger=L.pytorch.loggers.CSVLogger(folder),
        ).fit(PlainModule(model_of(config)), loader)  # fmt: skip
    return watch.seconds


def ways(model: str) -> dict[str, Way]:
    """Every way by its name; the first one is what the others are measured by."""
    adamw, compiled = "optimizer.name=adamw", "trainer.compile=true"
    found: dict[str, Way] = {
        "bare loop, float32": partial(bare, model),
        "bare loop, compiled" + (", bfloat16" if UNITS else ""): partial(bare, model, fast=True),
        "transformers Trainer": partial(trainer_of_transformers, model),
        "plain Lightning": partial(plain_lightning, model),
        "revlm, AdamW, float32": partial(revlm, model, adamw),
        "revlm, AdamW, float32, compiled": partial(revlm, model, adamw, compiled),
    }
    if UNITS:
        low = "trainer.precision=bf16-mixed"
        found["revlm, AdamW, bfloat16"] = partial(revlm, model, adamw, low)
        found["revlm, AdamW, bfloat16, compiled"] = partial(revlm, model, adamw, low, compiled)
    found["revlm as shipped (Muon, float32)"] = partial(revlm, model)
    if python := os.environ.get("REVLM_LITGPT"):
        found["litgpt"] = Litgpt(python, model, warm=WARM, steps=STEPS)
    return found


def speed_rows(model: str, parameters: str) -> list[Row]:
    """Tokens a second of every way, and how many times the bare loop's."""
    print(f"training, {parameters} parameters", flush=True)
    seconds = take_turns(ways(model), ROUNDS)
    base, *_ = seconds.values()
    tokens = BATCH * ROW * STEPS
    aims = {
        "revlm, AdamW, float32": 1.4,
        "revlm, AdamW, bfloat16, compiled": 1.6,
        "revlm as shipped (Muon, float32)": 1.6 if UNITS else 1.4,
    }
    return [
        {
            "case": parameters,
            "way": name,
            "tokens/s": tokens / statistics.median(times),
            "ratio": times_faster(base, times),
            "aim": aims.get(name),
        }
        for name, times in seconds.items()
    ]


def continue_rows() -> list[Row]:
    """Continuing SmolLM2: four rows a step, as its preset has them."""
    options = ("+experiment=continued_mixed", "init=pretrained")
    config = config_of("smollm2", *options)
    data = build_datamodule(config)
    data.open()
    net = from_pretrained(str(data.pretrained), ROW).train()
    ids = torch.from_numpy(data.store.ids[: 4 * ROW].astype("int64")).view(4, ROW)
    plain_optimizer = AdamW(net.parameters(), lr=1e-5)
    lm = build_module(config, data).train()
    optimizer = build_optimizer(lm.model, config.optimizer, lm.groups)
    positions = torch.arange(ROW).expand(4, ROW)

    def bare() -> torch.Tensor:
        loss: torch.Tensor = net(input_ids=ids, labels=ids, use_cache=False).loss
        return loss

    def ours() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=UNITS):
            return lm.loss.sum_nll(ids, ids, positions) / ids.numel()

    def way(loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer) -> float:
        started = time.perf_counter()
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - started

    print("continuing SmolLM2", flush=True)
    ways: dict[str, Way] = {
        "bare loop, float32": lambda: way(bare, plain_optimizer),
        "revlm's step" + (", bfloat16" if UNITS else ""): lambda: way(ours, optimizer),
    }
    seconds = take_turns(ways, ROUNDS)
    return [
        {
            "case": "continuing SmolLM2-135M",
            "way": name,
            "tokens/s": 4 * ROW / statistics.median(times),
            "ratio": times_faster(seconds["bare loop, float32"], times),
            "aim": None if name.startswith("bare") else 2.0,
        }
        for name, times in seconds.items()
    ]


def mixed_rows() -> list[Row]:
    """Mixed against forward-only: the same work, whatever the direction."""
    both: dict[str, Way] = {
        "forward only": lambda: revlm("llama_1m", "direction=forward"),
        "mixed": lambda: revlm("llama_1m"),
    }
    print("training, mixed against forward-only", flush=True)
    seconds = take_turns(both, 2 * ROUNDS)
    tokens = BATCH * ROW * STEPS
    return [
        {
            "case": "mixed against forward",
            "way": name,
            "tokens/s": tokens / statistics.median(times),
            "ratio": times_faster(seconds["forward only"], times),
            "aim": 0.99 if name == "mixed" else None,
        }
        for name, times in seconds.items()
    ]


def rows() -> list[Row]:
    """Both sizes and both modes, and what the machine's products reach."""
    cpu = torch.device("cpu")
    peaks = {name: peak_flops(cpu, dtype) / 1e9 for name, dtype in (("float32", torch.float32),)}
    if UNITS:
        peaks["bfloat16"] = peak_flops(cpu, torch.bfloat16) / 1e9
    machine: list[Row] = [
        {"case": "machine", "way": f"largest product, {name}, GFLOP/s", "tokens/s": peak}
        for name, peak in peaks.items()
    ]
    return [
        *machine,
        *speed_rows("llama_1m", "1.3M"),
        *speed_rows("llama_4m", "4.2M"),
        *continue_rows(),
        *mixed_rows(),
    ]


if __name__ == "__main__":
    os.environ.setdefault("REVLM_CACHE", str(default_cache()))
    show("Training", rows())
