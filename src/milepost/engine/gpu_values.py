"""Values that the parts of the GPU path exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from milepost.engine.kernel_options import KernelOptions

Context = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values [1, N, C, D] of a pack's context, by layer."""


class Output(NamedTuple):
    """Results of a pack's forward pass, on the device."""

    hidden_MD: torch.Tensor
    """Hidden states of the rows whose logits are needed."""
    is_sound: torch.Tensor
    """[1] whether all hidden states of the pack are finite."""
    below: Context | None
    """The context of the pack that starts where this one stops; None if that has no context."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """Sizes and kernels of a runner."""

    n_tokens: int
    n_context: int
    options: KernelOptions
    compiled_layers: bool
    graphs: bool = False
    """True if forward passes are recorded as CUDA graphs."""
