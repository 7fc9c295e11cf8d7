"""What training and scoring take, and what their relatives take beside them."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping

import torch

from revlm.config import CostOptions, Packing, ScoreConfig, TrainConfig
from revlm.costs import memory, times
from revlm.costs.case import Case
from revlm.costs.probe import Measured
from revlm.costs.reading import REST, REST_EACH, ROW_BYTES, SHARD_BYTES, Reading, probe_reading
from revlm.costs.result import Cost, Estimate, added
from revlm.costs.texts import DOCUMENT_BYTES, again, bytes_per_token
from revlm.costs.times import Times
from revlm.measures.scoring import CPU_BATCH_TOKENS, GPU_BATCH_TOKENS
from revlm.training.throughput import MEBI, peak_memory_mb

# Name -> share of tokens that are read in reverse, and whether the budget counts in each direction apart.
VARIANTS = {
    "forward": (0.0, False),
    "reverse": (1.0, False),
    "mixed": (0.5, False),
    "mixed, tokens per direction": (0.5, True),
}


def training(config: TrainConfig, options: CostOptions, *, imports: float) -> Estimate:
    """What a training run takes, in either direction and both ways, and scoring with its model.

    Args:
        config: of the run.
        options: for which machine.
        imports: seconds that importing the libraries took.

    Raises:
        UserError: the options make no run, or name no device.
    """
    case = Case.of(config, options, imports)
    # Before the probe takes some of its own.
    base, measured = case.base, None
    if case.device is None:
        found, measured, notes = times.here(case)
        where, room = "this machine", _memory_here()
    else:
        found, notes = times.stated(case, case.device)
        where = f"{case.world} {case.device.name}" if case.world > 1 else f"one {case.device.name}"
        room = case.device.memory
    parts = _training_memory(case, base, measured)
    costs = {name: _cost(name, case, found, parts) for name in VARIANTS}
    return Estimate(
        "train", where, room, costs[_own(config)], [*costs.values(), _scoring(case, found)], case.size, notes
    )


def scoring(config: ScoreConfig, pairs: Mapping[str, tuple[str, str | None]], *, imports: float) -> Estimate:
    """What scoring takes on this machine, with each model or pair after the other.

    Args:
        config: of the command.
        pairs: name -> (model, None), or (forward, reverse).
        imports: seconds that importing the libraries took.

    Raises:
        UserError: a model or the text cannot be used.
    """
    seconds = CostOptions().seconds / len(pairs)
    found = {name: probe_reading(config, *pair, seconds) for name, pair in pairs.items()}
    costs = [_read_cost(name, reading) for name, reading in found.items()]
    peak = peak_memory_mb(torch.device("cuda" if torch.cuda.is_available() else "cpu")) * MEBI
    tokens = sum(cost.tokens for cost in costs)
    own = Cost(
        name="scoring",
        tokens=tokens,
        steps=0,
        rate=tokens / sum(cost.seconds["reading"] for cost in costs),
        seconds={"start": times.PYTHON + imports} | added([cost.seconds for cost in costs]),
        memory={"at its highest": peak},
        disk=added([cost.disk for cost in costs]),
    )
    return Estimate(
        "score", "this machine", _memory_here(), own, costs if len(costs) > 1 else [], None, _told(found)
    )


def _read_cost(name: str, reading: Reading) -> Cost:
    seconds = {
        "models and text": reading.opening,
        "reading": reading.each * reading.tokens,
        "tables and figures": reading.rest,
    }
    disk = _score_disk(reading.documents, reading.tokens)
    return Cost(name, reading.tokens, 0, 1 / reading.each, seconds, {}, disk)


def _told(found: Mapping[str, Reading]) -> list[str]:
    reading = next(iter(found.values()))
    what = f"{reading.tokens:,} tokens in {reading.documents:,} documents"
    if reading.counted:
        return [
            f"Scoring reads {what}, counted in the prepared corpus, each token both ways.",
            "Seconds were measured on a part of them.",
        ]
    return [
        f"Scoring reads some {what}, estimated from bytes: the corpus is not prepared yet.",
        "Seconds were measured on made-up documents; preparing the text and what comes after reading are usual rates.",
    ]


def _own(config: TrainConfig) -> str:
    name = config.direction.module.value
    return f"{name}, tokens per direction" if name == "mixed" and config.budget.per_direction else name


def _cost(name: str, case: Case, found: Times, parts: Mapping[str, float]) -> Cost:
    """The run in one direction or both; counted in each direction apart, both ways cost twice as much."""
    config = copy.deepcopy(case.config)
    config.direction.reverse_ratio, config.budget.per_direction = VARIANTS[name]
    data = again(config, case.text.data)
    steps, validations = data.num_steps, config.budget.validations
    every = config.trainer.checkpoint_every_n_steps
    checkpoints = validations + (steps // every if every else 0)
    training_seconds = steps * found.step + found.first_step
    seconds = {
        "start": found.start,
        "text": found.text,
        "model": found.model,
        "first validation": found.first_validation,
        "training": training_seconds,
        f"validations ({validations})": validations * found.validation,
        f"checkpoints ({checkpoints})": checkpoints * found.checkpoint,
        "export, samples, figures": found.end,
    }
    tokens = steps * data.tokens_per_step
    disk = memory.run_disk(case.model, config.optimizer, case.precision) | _text_disk(case)
    return Cost(name, tokens, steps, tokens / training_seconds, seconds, parts, disk, case.world)


def _scoring(case: Case, found: Times) -> Cost:
    """Reading N tokens both ways with the run's model."""
    tokens, size = case.options.score_tokens, case.size
    reading = tokens * found.each_scored
    rest = REST + REST_EACH * tokens
    seconds = {"start": found.start, "model": found.model, "reading": reading, "tables and figures": rest}
    parts = memory.reading_memory(
        case.model,
        precision=case.precision,
        batch_tokens=GPU_BATCH_TOKENS if case.on_gpu else CPU_BATCH_TOKENS,
        window=case.config.data.window,
        base=case.base,
    )
    documents = tokens * bytes_per_token(size.vocabulary) / DOCUMENT_BYTES
    disk = _score_disk(documents, tokens)
    return Cost(f"scoring {tokens:,} tokens", tokens, 0, tokens / reading, seconds, parts, disk, case.world)


def _score_disk(documents: float, tokens: int) -> dict[str, float]:
    return {
        "score table and figures": ROW_BYTES * documents + memory.RECORDS,
        "shards until they are merged": float(SHARD_BYTES * tokens),
    }


def _training_memory(case: Case, base: float, measured: Measured | None) -> dict[str, float]:
    parts = memory.training_memory(
        case.model,
        optimizer=case.config.optimizer,
        precision=case.precision,
        strategy=case.config.trainer.strategy,
        world=case.world,
        rows=case.rows,
        row_length=case.size.row_length,
        packed=case.config.data.packing is Packing.packed,
        base=base,
    )
    if measured is not None and not case.on_gpu:
        # More was seen than can be reckoned: buffers, copies, what the allocator keeps.
        reckoned = sum(value for part, value in parts.items() if part != "framework")
        parts["framework"] = max(base, measured.peak - reckoned)
    return parts


def _text_disk(case: Case) -> dict[str, float]:
    """Documents and ids in the cache, which all runs share."""
    each = 2 if case.size.vocabulary <= 1 << 16 else 4
    return {"text in the cache": case.text.num_bytes * (1 + each / bytes_per_token(case.size.vocabulary))}


def _memory_here() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[1])
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
