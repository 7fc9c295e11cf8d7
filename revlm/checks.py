"""Options that no run can mean, refused before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from revlm.config import DataConfig, Part, Source, TrainConfig
from revlm.errors import UserError

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true")

# What must hold of an option, in words, and which options it is for.
RANGES: list[tuple[str, Callable[[Any], bool], str]] = [
    (
        "set it to 1 or more",
        lambda value: value >= 1,
        (
            "data.window data.segment_tokens data.max_bytes data.max_bytes_per_domain data.max_bytes_per_document data.max_documents "
            "data.without_bytes_per_domain data.max_val_tokens tokenizer.max_bytes budget.tokens budget.batch_size budget.micro_batch_size "
            "budget.validations trainer.devices trainer.num_nodes trainer.log_every_n_steps "
            "trainer.checkpoint_every_n_steps curves.smoothing curves.hold "
            "window min_tokens batch_tokens shard_tokens workers budget_tokens num_tokens samples batch_size limit "
            "rule.target.max_bytes rule.target.max_bytes_per_domain rule.target.max_documents "
            "cost.score_tokens cost.seconds"
        ),
    ),
    (
        "set it to 0 or more",
        lambda value: value >= 0,
        (
            "seed num_fewshot bootstrap curves.seed data.num_workers curves.resamples logger.samples optimizer.lr optimizer.muon_lr "
            "optimizer.weight_decay optimizer.clip_norm"
        ),
    ),
    ("set it to 0 or more, and to a finite number", lambda value: 0 <= value < math.inf, "temperature"),
    (
        "a share lies between 0 and 1",
        lambda value: 0 <= value <= 1,
        "direction.reverse_ratio optimizer.warmup optimizer.decay optimizer.final_lr",
    ),
    ("a share of probability above 0, at most 1", lambda value: 0 < value <= 1, "top_p"),
    ("a share of the stated peak above 0, at most 1", lambda value: 0 < value <= 1, "cost.efficiency"),
    (
        "a share of held-out documents lies between 0 and 1, both excluded",
        lambda value: 0 < value < 1,
        "data.val_fraction",
    ),
    ("set it to 0 or more and below 1", lambda value: 0 <= value < 1, "optimizer.beta1 optimizer.beta2"),
    ("a centred average needs an odd number", lambda value: value % 2 == 1, "curves.smoothing"),
    (f"choose one of {', '.join(ACCELERATORS)}", lambda value: value in ACCELERATORS, "trainer.accelerator"),
    (f"choose one of {', '.join(PRECISIONS)}", lambda value: value in PRECISIONS, "trainer.precision"),
    (
        "only last is known here; to begin from weights set init.path=",
        lambda value: value == "last",
        "ckpt_path",
    ),
]


def check(config: Any) -> None:
    """Refuse the first option that is out of its range, with the range.

    Args:
        config: the options of any command; what it does not have is not checked.

    Raises:
        UserError: an option, its value and what it may be.
    """
    for rule, holds, names in RANGES:
        for name in names.split():
            value = option(config, name)
            if value is not None and not holds(value):
                raise UserError(f"{name}={value}: {rule}.")
    if isinstance(config, TrainConfig):
        _check_split(config.data)


def option(config: Any, name: str) -> Any:
    """The value behind a dotted name; None for an option that is empty or not there."""
    return reduce(lambda node, part: getattr(node, part, None), name.split("."), config)


def _check_split(data: DataConfig) -> None:
    """Training splits whole documents: what is held out for one command is so for all of them."""
    if data.source is Source.labelled:
        raise UserError(
            "data=labelled is for evaluation only: train on another data=, and read it with "
            "python -m revlm.score model=... data=labelled."
        )
    if data.part is not Part.all:
        raise UserError(
            f"data.part={data.part.value}: training makes the split itself and reads both parts: leave data.part out."
        )
    if data.damage:
        raise UserError("data.damage: training would see held-out documents as damaged copies: leave it out.")
    if data.max_bytes_per_document is not None:
        raise UserError(
            f"data.max_bytes_per_document={data.max_bytes_per_document}: a document's beginning may fall on the other "
            "side of the split than the document: leave it out; training cuts long documents into windows."
        )
