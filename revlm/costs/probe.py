"""A short real run of what is to be estimated, in a temporary folder: its trainer, its records, its pictures.

A model that is too large for the time or the memory of a probe is tried with two small depths of the same
width and, if need be, fewer rows; what its layers take lies on the line through the two.
"""

from __future__ import annotations

import copy
import itertools
import os
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from omegaconf import OmegaConf
from transformers import PretrainedConfig

from revlm.config import Strategy, TrainConfig, WandbMode
from revlm.costs.arithmetic import Size, of_depth
from revlm.costs.case import Case
from revlm.costs.reading import seconds_per_token
from revlm.costs.stopwatch import Stopwatch, Timings
from revlm.costs.texts import again
from revlm.data.datamodule import TokenStreamDataModule
from revlm.pages.runs.figures import draw_run
from revlm.pages.runs.run import read_run
from revlm.pages.runs.tables import summary_table
from revlm.records import folder as run_folder
from revlm.records.logger import RunLogger
from revlm.records.results import export_run, write_samples, write_summary
from revlm.training.arithmetic import settle
from revlm.training.build import build_module
from revlm.training.modules import MODULES, DirectionalLM
from revlm.training.throughput import MEBI, peak_memory_mb
from revlm.training.trainer import build_trainer

# Share of the fastest product that a training step is expected to reach, to choose what is tried.
EXPECTED = 0.3
# Steps' worth of work in a probe: four steps, and two validations of two batches either way, a third of a step each.
STEPS, VAL_BATCHES = 7, 3
# Parts of the probe's time for training, and for scoring.
TRAINING, READING = 0.45, 0.15
# Bytes that training in float32 needs for a parameter at least, and the share of free memory that a probe may take.
BYTES_EACH, FREE = 16, 0.6
# The second depth, as a share of the model's.
DEEPER = 4


@dataclass(frozen=True)
class Trial:
    """What is tried: so many rows of a micro-batch, and the whole model or two depths of it.

    Attributes:
        rows: in a micro-batch.
        depths: layers of each model; none: the whole one.
    """

    rows: int
    depths: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measured:
    """Seconds of a training run's parts on this machine.

    Attributes:
        timings: of the training itself.
        building: the model.
        export: the model's folder.
        samples: the texts that it writes.
        records: summary, figures, and closing them.
        reading: of one token, read both ways by a scorer.
        peak: bytes of memory at the highest.
        parameters: of the model that was tried.
    """

    timings: Timings
    building: float
    export: float
    samples: float
    records: float
    reading: float
    peak: float
    parameters: int


def choose_trial(size: Size, rows: int, *, flops: float, seconds: float) -> Trial | None:
    """What a probe tries, so that it ends in time; None where even two layers are too much.

    Args:
        size: of the model.
        rows: of a micro-batch of the run.
        flops: a second, of the fastest product on this machine.
        seconds: that the probe may take.
    """
    row = size.training_flops * size.row_length / (EXPECTED * flops) * STEPS
    most = TRAINING * seconds
    room = FREE * free_memory() / BYTES_EACH
    if size.total < room and row <= most:
        return Trial(min(rows, max(1, int(most / row))))
    if size.layers < 2:  # noqa: PLR2004 -- two points make a line
        return Trial(1) if size.total < room else None
    inside = size.parameters.get("attention", 0) + size.parameters.get("feed-forward", 0)
    layer, outside = inside / size.layers, size.total - inside
    second = max(2, size.layers // DEEPER)
    while second > 2 and (outside + second * layer > room or row * second / size.layers > most):  # noqa: PLR2004
        second -= 1
    # Twice over the time is too much; a little over does no harm.
    return (
        Trial(1, (1, second))
        if outside + second * layer < room and row * second / size.layers < 2 * most
        else None
    )


def free_memory() -> float:
    """Bytes that this machine has left; on a GPU, its own."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        # macOS does not say.
        return 4e9


def probe(case: Case, trial: Trial) -> Measured:
    """Seconds of the parts of the whole model's run, measured or on the line through two depths."""
    depths = trial.depths or (None,)
    seconds = case.options.seconds / len(depths)
    # Records and pictures do not depend on the depth: the last one makes them.
    found = [_run(case, trial, layers, seconds, records=layers == depths[-1]) for layers in depths]
    whole = found[0] if len(found) == 1 else _extend(*found, depths=trial.depths, size=case.size)
    scale = case.rows / trial.rows
    timings = replace(
        whole.timings,
        micro_batch=whole.timings.micro_batch * scale,
        val_batch=whole.timings.val_batch * scale,
        first_step=whole.timings.first_step * scale,
    )
    return replace(whole, timings=timings)


def _extend(one: Measured, two: Measured, *, depths: tuple[int, ...], size: Size) -> Measured:
    """What the whole model takes, by what two depths of it take."""
    far = (size.layers - depths[0]) / (depths[1] - depths[0])

    def line(a: float, b: float) -> float:
        # A deeper model is never faster; noise may say so.
        return a + max(0.0, b - a) * far

    heavier = size.total / two.parameters
    of_layers = ("micro_batch", "optimiser", "val_batch")
    first, second = asdict(one.timings), asdict(two.timings)
    timings = second | {name: line(first[name], second[name]) for name in of_layers}
    timings["checkpoint"] = second["checkpoint"] * heavier
    return Measured(
        timings=Timings(**timings),
        building=two.building * heavier,
        export=two.export * heavier,
        samples=line(one.samples, two.samples),
        records=two.records,
        reading=line(one.reading, two.reading),
        peak=0.0,
        parameters=size.total,
    )


def _run(case: Case, trial: Trial, layers: int | None, seconds: float, *, records: bool) -> Measured:
    """Train for some seconds, and do what a run does at its end; all of it where records are asked for."""
    with tempfile.TemporaryDirectory(prefix="revlm-cost-") as name:
        folder = Path(name)
        small = _small(case, folder, trial)
        if not records:
            small.logger.wandb = WandbMode.none
        data = again(small, case.text.data)
        data.pretrained = case.text.data.pretrained if layers is None else None
        L.seed_everything(small.seed, workers=True, verbose=False)
        laps = [time.perf_counter()]
        module = _module(small, data, case.model.config, layers)
        laps.append(time.perf_counter())
        timings, trainer, logger = _fit(small, folder, data, module, seconds * TRAINING)
        laps.append(time.perf_counter())
        with closing(logger):
            samples = write_samples(small, data, module, folder)
            laps.append(time.perf_counter())
            if records:
                export_run(small, data, module, folder)
            laps.append(time.perf_counter())
            if records:
                logger.finish(write_summary(small, data, module, folder, trainer=trainer), samples)
        if records:
            draw_run(folder)
            summary_table(read_run(folder))
        laps.append(time.perf_counter())
        peak = peak_memory_mb(trainer.strategy.root_device) * MEBI
        reading = seconds_per_token(module, data, seconds * READING)
    building, _, samples_seconds, export, rest = (
        after - before for before, after in itertools.pairwise(laps)
    )
    return Measured(
        timings, building, export, samples_seconds, rest, reading, peak, int(module.model.num_parameters())
    )


def _fit(
    config: TrainConfig, folder: Path, data: TokenStreamDataModule, module: DirectionalLM, seconds: float
) -> tuple[Timings, L.Trainer, RunLogger]:
    """Train until the time is up, validating before and behind."""
    plain = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True))
    run_folder.start(folder, plain)
    settle(config.trainer, {}, flops=0)
    accumulate = data.share(0, 1).accumulate
    # Two warm up, and a step may be made of several.
    watch = Stopwatch(seconds * 0.7, 3 * accumulate)
    logger = RunLogger(folder, config.logger, plain, step=-1)
    trainer, _ = build_trainer(
        config, folder, data, module.model, fresh=True, logger=logger, callbacks=[logger, watch]
    )
    trainer.fit(module, datamodule=data)
    return watch.timings(), trainer, logger


def _module(
    config: TrainConfig, data: TokenStreamDataModule, architecture: PretrainedConfig, layers: int | None
) -> DirectionalLM:
    """The run's own module, or one around a model with random weights and so many layers."""
    if layers is None and (data.pretrained or config.model.config):
        return build_module(config, data)
    return MODULES[config.direction.module](
        of_depth(architecture, layers),
        optimizer=config.optimizer,
        curves=config.curves,
        window=data.layout.window,
        prefix=data.layout.prefix,
    )


def _small(case: Case, folder: Path, trial: Trial) -> TrainConfig:
    """The run's options, on one device, for a few steps and two short validations."""
    small = copy.deepcopy(case.config)
    # Two micro-batches tell what accumulating takes.
    small.budget.micro_batch_size = trial.rows
    small.budget.batch_size = trial.rows * min(2, case.share.accumulate)
    row = small.data.window + 2
    small.budget.tokens, small.budget.validations = 60 * small.budget.batch_size * row, 1
    small.budget.per_direction = False
    small.data.max_val_tokens = VAL_BATCHES * trial.rows * small.data.window
    small.trainer.devices = small.trainer.num_nodes = 1
    small.trainer.strategy = Strategy.auto
    small.trainer.progress_bar = False
    small.trainer.checkpoint_every_n_steps = None
    small.ckpt_path = None
    small.run.dir = str(folder)
    small.run.root = str(folder)
    if small.logger.wandb is WandbMode.online:
        small.logger.wandb = WandbMode.offline
    return small
