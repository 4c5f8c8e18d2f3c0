"""Fast matrix products in bfloat16 and float16 on a CPU without instructions for them.

Without such instructions torch multiplies half-precision matrices about seven times slower than float32
(AVX2), or three times (bfloat16 on AVX-512). Products are summed in float32 in both cases, so casting the
factors to float32 and rounding the result only changes the order of summation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from milepost.engine.attention_call import AttentionCall

HALVES = (torch.bfloat16, torch.float16)
MIN_ROWS = 4
"""Fewest rows: below, casting the weights takes longer than the product."""


def upcast_matmuls(module: torch.nn.Module, *, wanted: bool = True) -> AbstractContextManager[Any]:
    """Return a context in which the module's matrix products run in float32, if that is faster."""
    parameter = next(module.parameters())
    is_half_on_cpu = parameter.dtype in HALVES and parameter.device.type == "cpu"
    if wanted and is_half_on_cpu and not has_instructions(parameter.dtype):
        return _Upcasting()
    return nullcontext()


def as_they_are(call: AttentionCall) -> AbstractContextManager[Any]:
    """Return a context in which the operations of an attention call are not looked at.

    torch's flash kernel is as fast in half precision, and to look at each of the small operations around it
    takes as long as the smallest of them. Other calls are products like any.
    """
    return torch._C.DisableTorchFunction() if call.fits_flash_kernel else nullcontext()


def has_instructions(dtype: torch.dtype) -> bool:
    """Return whether torch has instructions of this processor for matrix products in that dtype.

    oneDNN calls bfloat16 supported on every AVX-512 processor, although it takes the products apart into
    float32 on those before Cooper Lake and Zen 4.
    """
    ops: Any = torch.ops.mkldnn
    if dtype == torch.float16:
        return bool(ops._is_mkldnn_fp16_supported())
    is_taken_apart = torch.cpu._is_avx512_supported() and not (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )
    return bool(ops._is_mkldnn_bf16_supported()) and not is_taken_apart


class _Upcasting(TorchFunctionMode):
    """Intercepts every call of a torch function and runs large products in float32."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in _PRODUCTS and _is_half(args, named) and _n_rows(args[_PRODUCTS[func]]) >= MIN_ROWS:
            product = func(*map(upcast, args), **{name: upcast(value) for name, value in named.items()})
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
"""The products that models use, and the argument whose rows become those of the result."""


def _is_half(args: Sequence[Any], named: Mapping[str, Any]) -> bool:
    tensors = [value for value in (*args, *named.values()) if isinstance(value, torch.Tensor)]
    return "out" not in named and bool(tensors) and all(tensor.dtype in HALVES for tensor in tensors)


def _n_rows(factor: torch.Tensor) -> int:
    return factor.numel() // max(1, factor.shape[-1])


def upcast(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) else value
