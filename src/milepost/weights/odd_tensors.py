"""Find unusual values in a checkpoint's tensors that are worth a warning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import PretrainedConfig

from milepost.cores import usable_cores
from milepost.text.messages import some

_FEW_CORES = 4
"""Fewest cores for more than one thread that looks at the weights, beside the one that scores."""


def odd_tensors(tensors: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """Yield warnings about NaN, Inf and matrices of zeros; a bias of zeros is a usual initial value."""
    zero, not_finite = [], []
    floats = {
        name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()
    }
    if usable_cores() < _FEW_CORES:
        extremes = list(map(_extremes, floats.values()))
    else:
        with ThreadPoolExecutor(2) as pool:
            extremes = list(pool.map(_extremes, floats.values()))
    for (name, tensor), (low, high) in zip(floats.items(), extremes, strict=True):
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            not_finite.append(name)
        elif low == high == 0 and tensor.ndim > 1:
            zero.append(name)
    if not_finite:
        yield f"NaN or Inf in {some(not_finite)}"
    if zero:
        yield f"only zeros in {some(zero)}"


def other_dtype(config: PretrainedConfig, tensors: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """Yield a warning if most weights lose precision when they are cast to the config's dtype."""
    wanted = getattr(config, "dtype", None)
    counts: Counter[torch.dtype] = Counter()
    for tensor in tensors.values():
        if tensor.is_floating_point():
            counts[tensor.dtype] += tensor.numel()
    if isinstance(wanted, torch.dtype) and counts:
        usual = counts.most_common(1)[0][0]
        if usual != wanted and usual.itemsize >= wanted.itemsize:
            yield f"weights are {_plain(usual)}, but config.json says {_plain(wanted)}"


def _extremes(tensor: torch.Tensor) -> tuple[float, float]:
    wide = tensor if tensor.dtype.itemsize > 1 else tensor.float()
    low, high = torch.aminmax(wide)
    return float(low), float(high)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
