"""The memory model against the memory of forward passes, and the packs that follow from it."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tests.engine.models as models
from milepost.engine.allocator import CUDA_SETTINGS, join_freed_memory
from milepost.engine.gpu_memory import MIN_TOKENS, SHARE_OF_FREE, MemoryModel, pack_cache_bytes
from milepost.engine.layer_shapes import LayerShape
from milepost.engine.model_config import text_config
from milepost.engine.packed import PackedEngine
from milepost.engine.tree_cache import TreeCache
from milepost.plan.joined_shards import ShardStream
from tests.engine.emulated import Compiler, compiler
from tests.engine.models import CONFIGS, VOCAB, random_requests, tiny_model

__all__ = ["compiler"]

WIDE = {"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8, "num_key_value_heads": 2}
GB = 2**30


class Held(TorchDispatchMode):
    """Measures the peak bytes of results that are alive at once."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self._alive: set[int] = set()
        self._now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._alive and storage.nbytes():
                    self._alive.add(storage._cdata)
                    self._now += storage.nbytes()
                    self.peak = max(self.peak, self._now)
                    weakref.finalize(storage, self._drop, storage._cdata, storage.nbytes())
        return result

    def _drop(self, name: int, size: int) -> None:
        self._alive.discard(name)
        self._now -= size


def wide_model(architecture: str, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    config, settings = CONFIGS[architecture]
    settings = settings | {name: size for name, size in WIDE.items() if name in settings}
    if "n_embd" in settings:
        settings = {name: size for name, size in settings.items() if name != "hidden_size"} | {"n_embd": 256}
    if "ffn_dim" in settings:
        settings |= {"ffn_dim": 1024, "word_embed_proj_dim": 256}
    if "head_dim" in settings:
        settings |= {"head_dim": 32}
    monkeypatch.setitem(models.CONFIGS, "wide", (config, settings))
    return tiny_model("wide")


@pytest.mark.parametrize(
    "architecture", ["llama", "gemma2", "phi3", "gpt2", "gpt_neox", "opt", "mixtral", "cohere"]
)
def test_the_model_counts_no_less_than_a_pass_holds(
    architecture: str, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_tokens = 1024
    model = wide_model(architecture, monkeypatch)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=n_tokens)
    assert engine.gpu is not None
    engine.gpu._variants.settings = replace(engine.gpu.settings, compiled_layers=False, n_context=128)
    runner = engine.gpu.runner
    # The kernel holds nothing beside its output; emulated, it would hold the matrix of scores.
    runner._flex = lambda query, *_: torch.zeros_like(query)
    requests = random_requests(seed=1, n=600)
    pack = ShardStream(iter([requests]), TreeCache(share_prefixes=True).tree_of).next_pack(n_tokens)
    assert pack is not None
    assert len(pack) == n_tokens
    with torch.inference_mode():
        staged = engine.gpu.stage(pack)
        with engine.gpu.in_place(), Held() as held:
            runner.run(staged, None)
    counted = MemoryModel.of(text_config(model), engine.gpu._shapes, VOCAB)
    needed = counted.needed(n_tokens, 128) - counted.head_bytes
    assert held.peak <= needed <= 4.5 * held.peak


def model_8b() -> MemoryModel:
    """A Llama of 8 billion parameters in bfloat16."""
    shape = LayerShape(32, 8, 128, 128, 0.09, None, None, torch.bfloat16)
    config = type("Config", (), {"hidden_size": 4096, "intermediate_size": 14_336})
    return MemoryModel.of(config, [shape] * 32, 128_256)


def test_packs_shrink_with_the_card_and_with_the_length_of_contexts() -> None:
    memory = model_8b()
    assert memory.fitting_tokens(60 * GB, 2048, 32_768) == 32_768
    assert 4096 <= memory.fitting_tokens(24 * GB - 16 * GB, 2048, 32_768) <= 16_384
    # Keys and values of 131,072 rows of context are 16 GB a set.
    assert memory.needed(1024, 131_072) > 3 * 16 * GB
    assert memory.fitting_tokens(130 * GB, 131_072, 32_768) < 32_768
    assert memory.fitting_tokens(0, 2048, 32_768) == MIN_TOKENS


@pytest.mark.parametrize("free", [8 * GB, 20 * GB, 60 * GB])
def test_two_processes_that_start_at_once_on_one_card_find_room_for_both(free: int) -> None:
    memory = model_8b()
    n_tokens = memory.fitting_tokens(free, 2048, 32_768)
    assert 2 * (memory.needed(n_tokens, 2048) + pack_cache_bytes(free)) <= free
    assert 2 * (SHARE_OF_FREE + pack_cache_bytes(free) / free) <= 1


@pytest.mark.parametrize("name", CUDA_SETTINGS)
def test_the_allocator_is_left_alone_where_the_user_has_set_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "max_split_size_mb:512")
    assert join_freed_memory.__wrapped__() is False


def test_the_allocator_maps_pages() -> None:
    """In a process of its own, as the setting stays."""
    script = "from milepost.engine.allocator import join_freed_memory; print(join_freed_memory())"
    environment = {key: value for key, value in os.environ.items() if key not in CUDA_SETTINGS}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "True"
