"""Tile sizes of FlexAttention's kernel: the memory formula against assembled kernels, and the choice."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import torch

from milepost.engine.kernel_options import (
    BLOCK,
    SHARED_BYTES,
    Card,
    KernelOptions,
    fitting_options,
    reason_without_kernel,
    shared_bytes,
)

ASSEMBLED = Path(__file__).with_name("assembled_kernels.csv")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
HEADS = range(16, 257)
CARDS = [Card.named(capability) for capability in SHARED_BYTES]


class Assembled(NamedTuple):
    capability: tuple[int, int]
    dtype: torch.dtype
    head: int
    options: KernelOptions
    shared: int
    stack: int | None


def assembled() -> Iterator[Assembled]:
    with ASSEMBLED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Assembled(
                divmod(int(row["capability"]), 10),
                getattr(torch, row["dtype"]),
                int(row["head"]),
                KernelOptions(*(int(row[key]) for key in ("M", "N", "stages", "warps"))),
                int(row["shared"]),
                int(row["stack"]) if row["stack"] else None,
            )


def test_no_assembled_kernel_takes_more_shared_memory_than_the_formula_says() -> None:
    rows = list(assembled())
    assert len(rows) > 400
    off = [
        (row, found)
        for row in rows
        if not row.shared
        <= (found := shared_bytes(row.options, row.head, row.dtype, row.capability))
        <= 1.25 * row.shared + 2048
    ]
    assert off == []


TORCHS_OWN = [
    # Compute capability, dtype, head size, torch's tile, bytes of the kernel that Inductor generated.
    ((8, 6), torch.bfloat16, 64, KernelOptions(128, 64, 3, 4), 50_176),
    ((8, 6), torch.bfloat16, 128, KernelOptions(128, 64, 3, 8), 99_328),
    ((8, 6), torch.bfloat16, 256, KernelOptions(32, 64, 3, 4), 153_600),
    ((8, 6), torch.float32, 128, KernelOptions(128, 32, 3, 4), 148_480),
    ((9, 0), torch.bfloat16, 64, KernelOptions(128, 128, 3, 4), 116_736),
    ((9, 0), torch.bfloat16, 128, KernelOptions(128, 64, 3, 8), 132_096),
    ((9, 0), torch.bfloat16, 256, KernelOptions(64, 32, 3, 4), 132_608),
    ((12, 0), torch.bfloat16, 64, KernelOptions(128, 64, 2, 4), 33_280),
    ((12, 0), torch.bfloat16, 128, KernelOptions(128, 64, 2, 8), 66_048),
    ((12, 0), torch.bfloat16, 256, KernelOptions(32, 64, 2, 4), 87_040),
    ((12, 0), torch.float32, 128, KernelOptions(128, 32, 2, 4), 115_456),
]


@pytest.mark.parametrize(("capability", "dtype", "head", "options", "measured"), TORCHS_OWN)
def test_the_formula_knows_which_of_torchs_own_tiles_fit_a_card(
    capability: tuple[int, int], dtype: torch.dtype, head: int, options: KernelOptions, measured: int
) -> None:
    found, limit = shared_bytes(options, head, dtype, capability), SHARED_BYTES[capability]
    assert measured <= found <= 1.05 * measured + 2048
    assert (found <= limit) == (measured <= limit)


@pytest.mark.parametrize("card", CARDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_head_from_16_to_256_has_a_kernel_that_fits(card: Card, dtype: torch.dtype) -> None:
    for head in HEADS:
        found = fitting_options(head, dtype, card)
        if dtype == torch.bfloat16 and card.capability < (8, 0):
            assert (found, reason_without_kernel(head, dtype, card) is None) == ([], False)
            continue
        assert found, f"heads of {head}"
        assert reason_without_kernel(head, dtype, card) is None
        for options in found:
            assert shared_bytes(options, head, dtype, card.capability) <= card.shared_bytes


def test_the_first_options_were_assembled_for_every_kind_of_card_and_hardly_spill() -> None:
    seen = {(row.capability, row.dtype, row.head, row.options): row for row in assembled()}
    spilled = {}
    for capability, dtype, head, _ in list(seen):
        first = fitting_options(head, dtype, Card.named(capability))[0]
        assert (capability, dtype, head, first) in seen, f"assemble {first} for {capability} {dtype} {head}"
        spilled[capability, dtype, head] = seen[capability, dtype, head, first].stack or 0
    assert max(spilled.values()) <= 1024, max(spilled.items(), key=lambda item: item[1])


NAMES = {
    (7, 0): "V100",
    (7, 5): "T4",
    (8, 0): "A100",
    (8, 6): "A10, RTX 3090",
    (8, 9): "RTX 4090, L4, L40S",
    (9, 0): "H100, H200",
    (10, 0): "B200",
    (12, 0): "RTX 5090",
}


@pytest.mark.parametrize("capability", NAMES)
def test_the_page_on_gpus_shows_the_tiles_that_are_taken(capability: tuple[int, int]) -> None:
    card = Card.named(capability)
    cells = [NAMES[capability], "{}.{}".format(*capability), f"{card.shared_bytes:,}"]
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        firsts = [fitting_options(head, dtype, card)[:1] for head in (64, 128, 256)]
        cells.append(" / ".join(f"{one.rows}x{one.keys}" for found in firsts for one in found) or "-")
    page = (BENCHMARKS.parent / "docs" / "gpu.md").read_text("utf-8")
    assert f"| {' | '.join(cells)} |" in page


def test_heads_of_64_get_tiles_of_64_on_every_card_with_tensor_cores() -> None:
    firsts = {fitting_options(64, torch.bfloat16, card)[0] for card in CARDS if card.capability >= (8, 0)}
    assert firsts == {KernelOptions(64, 64, 3, 4)}


def test_options_are_as_flex_attention_takes_them() -> None:
    assert KernelOptions(64, 32, 3, 4).for_flex() == {
        "BLOCK_M": 64,
        "BLOCK_N": 32,
        "num_stages": 3,
        "num_warps": 4,
        "FORCE_USE_FLEX_ATTENTION": True,
        "ROWS_GUARANTEED_SAFE": True,
    }


def test_tiles_divide_the_blocks_of_the_mask() -> None:
    for dtype in DTYPES:
        for head in (64, 256):
            found = fitting_options(head, dtype, Card.named((9, 0)))
            assert all(BLOCK % options.rows == BLOCK % options.keys == 0 for options in found)


@pytest.mark.parametrize(
    ("head", "dtype", "card", "reason"),
    [
        (8, torch.float16, Card.named((8, 6)), "heads of 8 are smaller than a kernel's 16"),
        (64, torch.bfloat16, Card.named((7, 0)), "compute capability 7.0 has no bfloat16"),
        (64, torch.float16, Card.named((6, 1)), "Triton generates no code for compute capability 6.1"),
        (64, torch.float64, Card.named((9, 0)), "FlexAttention has no kernel for float64"),
        (
            2048,
            torch.float32,
            Card.named((7, 5)),
            "heads of 2048 need 264,192 bytes of shared memory of a multiprocessor's 65,536",
        ),
    ],
)
def test_a_missing_kernel_has_a_reason(head: int, dtype: torch.dtype, card: Card, reason: str) -> None:
    assert fitting_options(head, dtype, card) == []
    assert reason_without_kernel(head, dtype, card) == reason


def test_a_card_has_its_own_limit_and_an_unknown_card_the_smallest() -> None:
    class Properties:
        shared_memory_per_block_optin = 77_000

    assert Card.named((8, 6), Properties()).shared_bytes == 77_000
    assert Card.named((13, 0)).shared_bytes == 49_152


def test_values_may_have_another_head_size_than_keys() -> None:
    card = Card.named((8, 6))
    narrow, wide = (
        shared_bytes(KernelOptions(64, 64, 2, 4), 192, torch.float16, card.capability, value_size=size)
        for size in (128, 192)
    )
    assert narrow < wide
    assert fitting_options(192, torch.float16, card, value_size=8) == []


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0)])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_chosen_kernels_assemble_and_fit(
    capability: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("triton", reason="no triton here to assemble kernels with (pip install triton)")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernels = flex_kernel()
    card = Card.named(capability)
    for head, extras in ((32, {"window": 1024}), (64, {}), (80, {"softcap": 50.0}), (128, {}), (256, {})):
        first = fitting_options(head, getattr(torch, dtype), card)[0]
        kernel = kernels.assemble(
            capability[0] * 10 + capability[1],
            dtype,
            head,
            (first.rows, first.keys),
            first.stages,
            first.warps,
            **extras,
        )
        expected = shared_bytes(first, head, getattr(torch, dtype), capability)
        assert kernel.metadata.shared <= expected <= card.shared_bytes, head


def flex_kernel() -> ModuleType:
    """Return the kernel of the benchmarks, which is not part of the package."""
    spec = importlib.util.spec_from_file_location("flex_kernel", BENCHMARKS / "flex_kernel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["flex_kernel"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    torch.version.cuda is None, reason="a torch built for CUDA generates kernels; this is not one"
)
@pytest.mark.parametrize("card", [75, 86, 90])
def test_kernels_that_torch_generates_fit(card: int, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    script = str(BENCHMARKS / "lowered_kernels.py")
    command = [sys.executable, script, "--card", str(card), "--heads", "32", "80", "256"]
    done = subprocess.run(
        [*command, "--dtypes", "float16"],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 4
