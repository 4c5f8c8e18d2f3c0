"""Dtypes of stored weights, by torch's names, without torch."""

from __future__ import annotations

from collections.abc import Mapping

BYTES_PER_ITEM: Mapping[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1,
    "bool": 1, "complex32": 4, "complex64": 8, "complex128": 16,
    "quint8": 1, "qint8": 1, "qint32": 4, "float4_e2m1fn_x2": 1,
}  # fmt: skip
"""Every dtype that a tensor may have, with the bytes of one element."""

SAFETENSORS: Mapping[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""Name in a safetensors file to torch's name."""

PLAIN = frozenset(SAFETENSORS.values())
"""Dtypes that are read from safetensors and `torch.save` files; DCP may have all of `BYTES_PER_ITEM`."""
