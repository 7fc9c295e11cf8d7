"""In which precision a machine computes fastest."""

from __future__ import annotations

import torch


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether a device multiplies matrices in bfloat16 faster than in float32.

    Of processors, those with AMX: there a product of bfloat16 is seven times as fast. Others convert every number on
    its way: on a machine without such units products of bfloat16 were a hundred times slower.
    """
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
