"""Matrix products of bfloat16 and float16 on a CPU that has no instructions for them.

Without such instructions torch multiplies half-precision matrices element by element, some seven times slower
than in float32 (AVX2: 5 against 40 GFLOP/s a core). Products are summed in float32 either way, so we widen
the factors, multiply in float32 and round the result: the same numbers but for the order of summation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

HALVES = (torch.bfloat16, torch.float16)
MIN_ROWS = 4
"""Below so many rows widening the weights takes longer than the product itself."""


def upcast_matmuls(module: torch.nn.Module, *, wanted: bool = True) -> AbstractContextManager[Any]:
    """Within it the module's products of matrices are computed in float32, where that is faster."""
    parameter = next(module.parameters())
    if wanted and parameter.dtype in HALVES and parameter.device.type == "cpu" and not _has(parameter.dtype):
        return _Widening()
    return nullcontext()


def _has(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies matrices of that type itself, as far as torch makes use of it."""
    ops: Any = torch.ops.mkldnn
    supported = ops._is_mkldnn_bf16_supported if dtype == torch.bfloat16 else ops._is_mkldnn_fp16_supported
    return bool(supported())


class _Widening(TorchFunctionMode):
    """Sees every call of a torch function, and takes the products of wide enough matrices."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in _PRODUCTS and _is_half(args, named) and _n_rows(args[_PRODUCTS[func]]) >= MIN_ROWS:
            product = func(*map(_widened, args), **{name: _widened(value) for name, value in named.items()})
            return product.to(args[0].dtype)
        return func(*args, **named)


_PRODUCTS = {
    torch.nn.functional.linear: 0,
    torch.addmm: 1,
    torch.matmul: 0,
    torch.Tensor.matmul: 0,
    torch.Tensor.__matmul__: 0,
    torch.mm: 0,
    torch.bmm: 0,
}
"""The products that models are made of, and which argument's rows become those of the result."""


def _is_half(args: Sequence[Any], named: Mapping[str, Any]) -> bool:
    tensors = [value for value in (*args, *named.values()) if isinstance(value, torch.Tensor)]
    return "out" not in named and bool(tensors) and all(one.dtype in HALVES for one in tensors)


def _n_rows(factor: torch.Tensor) -> int:
    return factor.numel() // max(1, factor.shape[-1])


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) else value
