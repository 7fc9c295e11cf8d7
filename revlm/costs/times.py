"""Seconds that a training run is made of: by a probe of this machine, or by a stated peak."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from revlm.costs import memory
from revlm.costs.accelerators import SCORING_EFFICIENCY, TRAINING_EFFICIENCY, Accelerator
from revlm.costs.arithmetic import PASSES
from revlm.costs.case import Case
from revlm.costs.probe import Measured, Trial, choose_trial, probe
from revlm.costs.texts import again
from revlm.training.throughput import DTYPES, peak_flops

# Seconds until Python and Hydra have composed the options; on a cluster, until all devices are there.
PYTHON, CLUSTER = 1.2, 60.0
# Bytes a second of a checkpoint on its way to a disk that devices share.
DISK_RATE = 1e9
# Directions in which a validation and a score read each token.
BOTH = 2
LOW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Times:
    """Seconds that everything is made of, wherever they come from."""

    start: float
    text: float
    model: float
    step: float
    first_step: float
    validation: float
    first_validation: float
    checkpoint: float
    end: float
    each_scored: float


def here(case: Case) -> tuple[Times, Measured | None, list[str]]:
    """By a probe of this machine.

    Returns:
        The times, what was measured of the whole run (None where only a part of it was tried), and notes.
    """
    dtype = DTYPES.get(case.precision.partition("-")[0], torch.float32)
    flops = peak_flops(torch.device("cuda" if case.on_gpu else "cpu"), dtype)
    trial = choose_trial(case.size, case.rows, flops=flops, seconds=case.options.seconds)
    if trial is None:
        times, _ = stated(case, Accelerator("this machine", flops, flops, 0.0))
        return (
            times,
            None,
            [
                "Even two layers are too large to try here: seconds follow from the fastest matrix product of this machine."
            ],
        )
    found = probe(case, trial)
    timings = found.timings
    # Processes on one CPU share its cores.
    crowd = 1 if case.on_gpu else case.world
    val_batches = max(1, -(-int(case.text.val_rows) // (case.rows * case.world)))
    batches = BOTH * val_batches * timings.val_batch * crowd
    times = Times(
        start=PYTHON + case.imports,
        text=case.text.seconds,
        model=found.building + timings.setup,
        step=(case.share.accumulate * timings.micro_batch + timings.optimiser) * crowd,
        first_step=timings.first_step,
        validation=timings.validation + batches,
        first_validation=timings.first_validation + batches,
        checkpoint=timings.checkpoint,
        end=found.export + found.samples + found.records + timings.teardown,
        each_scored=found.reading,
    )
    whole = trial.rows == case.rows and not trial.depths
    return times, found if whole else None, _notes(case, trial, crowd)


def _notes(case: Case, trial: Trial, crowd: int) -> list[str]:
    notes = ["Seconds were measured by a short run of the same kind on this machine."]
    if trial.depths:
        notes.append(
            f"The model is too large for that: {trial.depths[0]} and {trial.depths[1]} of its {case.size.layers} layers were "
            "tried; the rest lies on the line through both."
        )
    if trial.rows < case.rows:
        notes.append(f"Micro-batches of {trial.rows} rows were tried for {case.rows}.")
    if not case.text.prepared:
        notes.append(
            "The text is not prepared yet: preparing it is estimated from its bytes, and documents were made up."
        )
    if crowd > 1:
        notes.append(f"{crowd} processes share this machine's cores, so they are no faster than one.")
    return notes


def stated(case: Case, device: Accelerator) -> tuple[Times, list[str]]:
    """By a peak and the share of it that is reached.

    Returns:
        The times, and notes.
    """
    held, products = memory.TYPES[case.precision]
    kind = products or held
    one = device.peak(low=kind in LOW)
    options, size = case.options, case.size
    train, read = options.efficiency or TRAINING_EFFICIENCY, options.efficiency or SCORING_EFFICIENCY
    token = size.reading_flops / (one * case.world * read)
    step = (
        again(case.config, case.text.data).tokens_per_step * size.training_flops / (one * case.world * train)
    )
    validation = BOTH * case.text.val_tokens * token
    written = size.total * held.itemsize / DISK_RATE
    times = Times(
        start=CLUSTER,
        text=case.text.seconds,
        model=written,
        step=step,
        first_step=0.0,
        validation=validation,
        first_validation=validation,
        checkpoint=PASSES * written,
        end=written,
        each_scored=BOTH * token,
    )
    return times, [
        (
            f"Seconds follow from the stated peak of {one / 1e12:,.0f} TFLOP/s in {str(kind).removeprefix('torch.')} of each device: "
            f"{train:.0%} of it is reached in training and {read:.0%} in reading (cost.efficiency=). Nothing was measured."
        )
    ]
