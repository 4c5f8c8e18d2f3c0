"""The table of dtypes is torch's."""

from __future__ import annotations

import pytest
import torch

from milepost.sources.dtypes import BYTES_PER_ITEM, PLAIN, SAFETENSORS


@pytest.mark.parametrize("name", BYTES_PER_ITEM)
def test_a_dtype_has_torchs_size(name: str) -> None:
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip(f"this torch has no {name}")
    assert dtype.itemsize == BYTES_PER_ITEM[name]


def test_every_safetensors_dtype_has_a_size() -> None:
    assert set(SAFETENSORS.values()) == PLAIN
    assert BYTES_PER_ITEM.keys() >= PLAIN
