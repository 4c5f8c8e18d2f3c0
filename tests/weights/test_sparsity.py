"""Zeros are counted exactly, and the pattern they lie in is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from milepost.types.sparsity import Sparsity
from milepost.weights import read_checkpoint
from milepost.weights.sparsity import measure_sparsity, zero_pattern
from tests.weights.pruned import blocks, magnitude, n_of_m, prune


def pattern(matrix: torch.Tensor) -> str:
    zero = matrix == 0
    return zero_pattern(zero, int(zero.sum()))


def random_matrix(rows: int = 96, columns: int = 64) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows * columns))


@pytest.mark.parametrize(
    ("pruned", "name"),
    [
        (random_matrix(), "dense"),
        (torch.zeros(32, 32), "all zero"),
        (magnitude(random_matrix(), 0.5), "unstructured"),
        (magnitude(random_matrix(), 0.9), "unstructured"),
        (n_of_m(random_matrix(), 2, 4), "2:4"),
        (n_of_m(random_matrix(), 4, 8), "4:8"),
        (n_of_m(random_matrix(), 1, 4), "1:4"),
        (n_of_m(random_matrix(), 1, 2), "1:2"),
        (n_of_m(random_matrix(), 2, 4).T.contiguous(), "2:4"),
        (blocks(random_matrix(), 16, 16), "16x16 blocks"),
        (blocks(random_matrix(), 8, 8), "8x8 blocks"),
        (blocks(random_matrix(100, 72), 16, 16), "16x16 blocks"),
        (blocks(random_matrix(), 1, 8), "1x8 blocks"),
        (blocks(random_matrix(), 1, 64), "whole rows"),
        (blocks(random_matrix(), 96, 1), "whole columns"),
    ],
)
def test_a_pattern_is_named(pruned: torch.Tensor, name: str) -> None:
    assert pattern(pruned) == name


def test_a_few_more_zeros_do_not_hide_a_pattern() -> None:
    pruned = n_of_m(random_matrix(), 2, 4)
    pruned[5, pruned[5].nonzero()[0]] = 0
    assert pattern(pruned) == "2:4"
    pruned = blocks(random_matrix(), 16, 16)
    pruned[tuple(pruned.nonzero()[3].tolist())] = 0
    assert pattern(pruned) == "16x16 blocks"


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.1, 0.95))
def test_zeros_without_a_pattern_get_no_name_of_one(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(80, 64, generator=generator)
    assert pattern(magnitude(matrix, share)) == "unstructured"


@pytest.fixture(scope="module")
def dense(tiny_llama: Path) -> Sparsity:
    return measure_sparsity(read_checkpoint(tiny_llama, "safetensors"), 1_000)


def test_linear_layers_are_those_of_the_blocks(dense: Sparsity) -> None:
    assert len(dense.layers) == 2 * 7
    assert all(layer.name.startswith("model.layers.") for layer in dense.layers)
    assert (dense.share, dense.patterns, dense.head) == (0.0, {"dense": 14}, None)


def test_parameters_are_those_of_the_files(dense: Sparsity, tiny_llama: Path) -> None:
    tensors = load_file(tiny_llama / "model.safetensors")
    assert dense.n_parameters == sum(tensor.numel() for tensor in tensors.values())
    assert dense.bytes_on_disk == 1_000


@pytest.mark.parametrize(
    ("how", "name", "share"),
    [
        (lambda weight: magnitude(weight, 0.5), "unstructured", 0.5),
        (lambda weight: n_of_m(weight, 2, 4), "2:4", 0.5),
        (lambda weight: blocks(weight, 16, 16), "16x16 blocks", 0.5),
    ],
)
def test_a_pruned_model_is_counted_to_the_last_weight(
    tiny_llama: Path, tmp_path: Path, how: Any, name: str, share: Any
) -> None:
    prune(tiny_llama, tmp_path / "pruned", how)
    sparsity = measure_sparsity(read_checkpoint(tmp_path / "pruned", "safetensors"), 1_000)
    zeros = {
        tensor_name: int((tensor == 0).sum())
        for tensor_name, tensor in load_file(tmp_path / "pruned" / "model.safetensors").items()
    }
    assert {layer.name: layer.zeros for layer in sparsity.layers} == {
        tensor_name: count for tensor_name, count in zeros.items() if "_proj" in tensor_name
    }
    assert sparsity.patterns == {name: 14}
    assert sparsity.share == pytest.approx(share, abs=1e-3)
    assert sparsity.n_zeros == sum(zeros.values())


def test_a_head_of_its_own_is_counted_apart(tiny_llama: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_llama / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].clone()
    head[:32] = 0
    folder = tmp_path / "untied"
    folder.mkdir()
    save_file({**tensors, "lm_head.weight": head}, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tiny_llama / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}), "utf-8")
    sparsity = measure_sparsity(read_checkpoint(folder, "safetensors"), 1_000)
    assert sparsity.head is not None
    assert (sparsity.head.zeros, sparsity.share) == (32 * 64, 0.0)


def test_blocks_that_lie_side_by_side_are_named_like_those_of_the_other_layers(
    tiny_llama: Path, tmp_path: Path
) -> None:
    """Half of the 16x16 blocks of the key projection are, by chance of this test, two whole bands of rows."""

    def bands_in_narrow_layers(weight: torch.Tensor) -> torch.Tensor:
        return blocks(weight, 16, 64) if weight.shape[0] == 32 else blocks(weight, 16, 16)

    prune(tiny_llama, tmp_path / "pruned", bands_in_narrow_layers)
    sparsity = measure_sparsity(read_checkpoint(tmp_path / "pruned", "safetensors"), 0)
    assert sparsity.patterns == {"16x16 blocks": 14}
