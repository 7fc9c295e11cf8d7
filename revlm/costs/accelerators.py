"""Accelerators as their makers state them."""

from __future__ import annotations

from dataclasses import dataclass

from revlm.errors import UserError

# Shares of the stated peak that well-fed devices reach; cost.efficiency= says another for both.
TRAINING_EFFICIENCY, SCORING_EFFICIENCY = 0.4, 0.5
TERA, GIGA = 10**12, 10**9


@dataclass(frozen=True)
class Accelerator:
    """One device.

    Attributes:
        name: for sentences.
        bfloat16: FLOP/s of dense products in bfloat16, without sparsity.
        float32: FLOP/s of products in float32, which is what 32-true computes in.
        memory: bytes.
    """

    name: str
    bfloat16: float
    float32: float
    memory: float

    def peak(self, *, low: bool) -> float:
        """FLOP/s in bfloat16 or float16, or else in float32."""
        return self.bfloat16 if low else self.float32


# By the makers' data sheets: dense, no sparsity; float32 without tensor cores.
ACCELERATORS = {
    "a100": Accelerator("A100 80GB", 312 * TERA, 19.5 * TERA, 80 * GIGA),
    "h100": Accelerator("H100 SXM", 989 * TERA, 67 * TERA, 80 * GIGA),
    "h200": Accelerator("H200", 989 * TERA, 67 * TERA, 141 * GIGA),
    "l4": Accelerator("L4", 121 * TERA, 30.3 * TERA, 24 * GIGA),
    "rtx4090": Accelerator("RTX 4090", 165 * TERA, 82.6 * TERA, 24 * GIGA),
    "mi300x": Accelerator("MI300X", 1307 * TERA, 163.4 * TERA, 192 * GIGA),
}
# What stands for the GPUs that a run asks for where there are none.
USUAL = "h100"


def accelerator(name: str) -> Accelerator:
    """The accelerator of a name.

    Raises:
        UserError: nobody has stated its peak here.
    """
    if name not in ACCELERATORS:
        raise UserError(
            f"cost.device={name}: its peak is not known: choose one of auto, here, {', '.join(ACCELERATORS)}."
        )
    return ACCELERATORS[name]
