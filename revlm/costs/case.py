"""A training run that is to be estimated: its options, its model's shapes, its text, and the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from transformers import PreTrainedModel

from revlm.config import CostOptions, TrainConfig
from revlm.costs import memory
from revlm.costs.accelerators import ACCELERATORS, USUAL, Accelerator, accelerator
from revlm.costs.arithmetic import Size, empty_model, row_length, size_of
from revlm.costs.texts import Text, again, open_text
from revlm.data.streams import Share
from revlm.errors import UserError
from revlm.training.arithmetic import settle
from revlm.training.throughput import MEBI, peak_memory_mb


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        config: its options.
        options: of the estimate.
        model: its own, on the meta device.
        size: of the model.
        text: its own, or made up.
        device: to reckon with; None for this machine.
        imports: seconds that importing the libraries took.
    """

    config: TrainConfig
    options: CostOptions
    model: PreTrainedModel
    size: Size
    text: Text
    device: Accelerator | None
    imports: float

    @classmethod
    def of(cls, config: TrainConfig, options: CostOptions, imports: float) -> Case:
        """The case of a run's options.

        Raises:
            UserError: the options make no run, or name no device.
        """
        device = _device(config, options)
        model = empty_model(config)
        size = size_of(model, row_length(config))
        text = open_text(config, size.vocabulary, look=device is None)
        case = cls(config, options, model, size, text, device, imports)
        # Refuses a batch that does not divide.
        assert case.share
        return case

    @property
    def world(self) -> int:
        """Devices in all."""
        return self.config.trainer.devices * self.config.trainer.num_nodes

    @cached_property
    def share(self) -> Share:
        """A device's part of each step."""
        return again(self.config, self.text.data).share(0, self.world)

    @property
    def rows(self) -> int:
        """Of a micro-batch."""
        return self.share.micro_batch_size

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU does the work."""
        return self.device is not None or (
            torch.cuda.is_available() and self.config.trainer.accelerator not in ("cpu", "mps")
        )

    @property
    def precision(self) -> str:
        """Lightning's, resolved for the device."""
        options = replace(self.config.trainer)
        if self.device is not None and options.precision == "auto":
            return "bf16-mixed"
        settle(options, {}, flops=0)
        return options.precision

    @cached_property
    def base(self) -> float:
        """Bytes that the framework takes by itself."""
        return memory.GPU_BASE if self.on_gpu else peak_memory_mb(torch.device("cpu")) * MEBI


def _device(config: TrainConfig, options: CostOptions) -> Accelerator | None:
    """The accelerator to reckon with; None for this machine."""
    missing = config.trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available()
    if options.device == "auto":
        return ACCELERATORS[USUAL] if missing else None
    if options.device != "here":
        return accelerator(options.device)
    if missing:
        raise UserError(
            f"trainer.accelerator={config.trainer.accelerator}: this machine has no GPU: set cost.device=h100 or "
            "another accelerator, or trainer.accelerator=cpu."
        )
    return None
