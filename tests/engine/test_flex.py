"""The GPU path without a GPU: small models, and a compiler that captures graphs without generating code."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import tests.engine.models as models
from milepost.engine.accelerator import Accelerator
from milepost.engine.attention_gpu import FlexRunner
from milepost.engine.optimizations import Optimizations
from milepost.engine.packed import TILES_BUDGET, PackedEngine
from milepost.engine.padded import PaddedEngine
from milepost.engine.reference import ReferenceEngine
from milepost.plan.sequences import take
from milepost.types.sequences import Scores, Sequences
from tests.engine.emulated import Compiler, compiler
from tests.engine.models import VOCAB, close, pack_up, random_requests, tiny_model

pytestmark = pytest.mark.slow

__all__ = ["compiler"]

PACKABLE = [
    "llama", "qwen2", "qwen3", "mistral", "mistral with a window", "gemma2", "gemma3", "phi3", "olmo2",
    "gpt2", "gpt_neox", "opt", "granite", "cohere", "mixtral",
]  # fmt: skip


def shard_of_depth(depth: int, n: int = 24) -> Sequences:
    """Return requests of `depth` tokens that share half of them."""
    random = np.random.default_rng(depth)
    shared = random.integers(3, VOCAB, depth // 2).tolist()
    return pack_up([(shared + random.integers(3, VOCAB, depth - len(shared)).tolist(), 2) for _ in range(n)])


def reference(model: torch.nn.Module, shards: list[Sequences]) -> list[Scores]:
    engine = ReferenceEngine(model, vocab_size=VOCAB)
    return [engine.score(shard) for shard in shards]


def gpu_of(engine: PackedEngine) -> FlexRunner:
    assert engine.gpu is not None
    return engine.gpu.runner


@pytest.mark.parametrize("architecture", PACKABLE)
def test_the_gpu_path_gives_the_reference_s_scores(architecture: str, compiler: Compiler) -> None:
    model = tiny_model(architecture)
    shards = [random_requests(seed=seed, n=60) for seed in range(3)]
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=256, trial=shards[0])
    for scores, expected in zip(engine.score_stream(shards), reference(model, shards), strict=True):
        close(scores, expected, 5e-5)
    assert (engine.name, engine.fallback) == ("packed", None)
    assert engine.gpu is not None
    assert engine.gpu.counts.packs >= 4
    assert len(compiler.graphs) <= 3, "a layer of each kind, and the attention"
    assert compiler.dense_calls == FlexRunner.dense_calls == 0


def test_two_graphs_serve_all_packs_depths_and_checkpoints(compiler: Compiler) -> None:
    shards = [shard_of_depth(40), shard_of_depth(300), shard_of_depth(250)]
    model = tiny_model("llama")
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=512, trial=shards[1])
    for seed in (1, 2):
        with torch.no_grad():
            for own, new in zip(model.parameters(), tiny_model("llama", seed).parameters(), strict=True):
                own.copy_(new)
        for shard, expected in zip(shards, reference(model, shards), strict=True):
            close(engine.score(shard), expected, 5e-5)
        for scores, expected in zip(engine.score_stream(shards), reference(model, shards), strict=True):
            close(scores, expected, 5e-5)
    assert engine.gpu is not None
    assert engine.gpu.counts.packs >= 16
    assert (len(compiler.graphs), compiler.flex_graphs) == (2, 1)
    assert compiler.dense_calls == FlexRunner.dense_calls == 0


def test_shards_are_joined_to_full_packs_and_yielded_in_order(compiler: Compiler) -> None:
    shards = [random_requests(seed=seed, n=12) for seed in range(12)]
    model = tiny_model("llama")
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=512, trial=shards[0])
    engine.score(shards[0])
    assert engine.joins_shards
    assert engine.gpu is not None
    engine.gpu.counts.packs = engine.gpu.counts.tokens = engine.gpu.counts.slots = 0
    longest = max(range(12), key=lambda i: int(np.diff(shards[i].starts).max()))
    engine.score(shards[longest])
    before = engine.gpu.counts.packs
    for scores, expected in zip(engine.score_stream(shards), reference(model, shards), strict=True):
        close(scores, expected, 5e-5)
    n_nodes = sum(len(engine._trees.tree_of(shard)) for shard in shards)
    assert engine.gpu.counts.packs - before == -(-n_nodes // 512)


@pytest.mark.parametrize(("budget_tokens", "depth"), [(64, 30), (200, 90), (320, 150)])
def test_no_kernel_has_to_check_bounds(budget_tokens: int, depth: int, compiler: Compiler) -> None:
    shard = shard_of_depth(depth)
    engine = PackedEngine(tiny_model("llama"), vocab_size=VOCAB, budget_tokens=budget_tokens, trial=shard)
    engine.score(shard)
    way = gpu_of(engine).settings
    assert way.n_tokens % 128 == (way.n_context + way.n_tokens) % 128 == 0
    assert way.n_context >= depth - 1


def test_a_pack_is_uploaded_once_for_all_checkpoints(compiler: Compiler) -> None:
    shards = [random_requests(seed=seed, n=30) for seed in range(4)]
    longest = max(shards, key=lambda shard: int(np.diff(shard.starts).max()))
    engine = PackedEngine(tiny_model("llama"), vocab_size=VOCAB, budget_tokens=256, trial=longest)
    first = list(engine.score_stream(shards))
    assert engine.gpu is not None
    uploaded = engine.gpu.n_uploaded
    for again, once in zip(engine.score_stream(shards), first, strict=True):
        close(again, once, 0)
    assert engine.gpu.n_uploaded == uploaded


def test_series_of_many_shapes_in_one_process_are_all_compiled(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n_layers in (2, 3, 4, 5, 6):
        llama = ("LlamaConfig", models.SMALL | {"num_hidden_layers": n_layers, "hidden_size": 16 * n_layers})
        llama[1].update(num_attention_heads=2, num_key_value_heads=1)
        monkeypatch.setitem(models.CONFIGS, "llama", llama)
        for width in (128, 256):
            model, shard = tiny_model("llama"), random_requests(seed=n_layers, n=12)
            engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=width)
            close(engine.score(shard), ReferenceEngine(model, vocab_size=VOCAB).score(shard))
            assert (engine.name, engine.fallback) == ("packed", None)
    assert compiler.flex_graphs == 10
    assert len(compiler.graphs) == 20
    assert compiler.dense_calls == FlexRunner.dense_calls == 0


def test_out_of_memory_halves_the_runner_and_not_the_budget_of_a_few_tokens(compiler: Compiler) -> None:
    too_large = 2560

    def run(tensors: list[torch.Tensor]) -> None:
        if any(tensor.ndim > 1 and tensor.shape[1] >= too_large for tensor in tensors):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 70.00 GiB")

    compiler.on_run = run
    model, shard = tiny_model("llama"), random_requests(seed=3, n=40)
    one_doc = take(shard, np.arange(4))
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=too_large, trial=shard)
    close(engine.score(one_doc), ReferenceEngine(model, vocab_size=VOCAB).score(one_doc), 5e-5)
    assert engine.budget_tokens == too_large // 2
    close(engine.score(shard), ReferenceEngine(model, vocab_size=VOCAB).score(shard), 5e-5)
    assert engine.budget_tokens == too_large // 2
    assert len(compiler.graphs) <= 4, "two graphs for each of two sizes"
    assert compiler.dense_calls == FlexRunner.dense_calls == 0


def test_memory_that_runs_out_in_the_middle_of_a_stream_loses_nothing(compiler: Compiler) -> None:
    shards = [random_requests(seed=seed, n=200, longest=100) for seed in range(3)]
    model = tiny_model("llama")
    longest = max(shards, key=lambda shard: int(np.diff(shard.starts).max()))
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=2048, trial=longest)
    expected = reference(model, shards)
    engine.score(take(longest, np.arange(4)))
    n_runs = [0]

    def run(tensors: list[torch.Tensor]) -> None:
        n_runs[0] += 1
        if n_runs[0] >= 6 and any(tensor.ndim > 1 and tensor.shape[1] >= 2048 for tensor in tensors):
            raise torch.OutOfMemoryError("CUDA out of memory")

    compiler.on_run = run
    for scores, wanted in zip(engine.score_stream(shards), expected, strict=True):
        close(scores, wanted, 5e-5)
    assert engine.budget_tokens == 1024
    assert len(compiler.graphs) == 4


@pytest.mark.parametrize(
    "says",
    [
        "Failed to find C compiler. Please specify via CC environment variable.",
        "No valid triton configs. OutOfMemoryError: out of resource: triton_tem_fused_0 Required: 153600",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_a_compiler_that_fails_leaves_right_scores_and_says_so_in_one_line(
    says: str, compiler: Compiler
) -> None:
    def fail() -> None:
        raise RuntimeError(says)

    compiler.on_compile = fail
    model, shards = tiny_model("llama"), [random_requests(seed=seed, n=40) for seed in range(3)]
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=2048)
    padded = PaddedEngine(model, vocab_size=VOCAB)
    for scores, shard in zip(engine.score_stream(shards), shards, strict=True):
        close(scores, padded.score(shard), 5e-5)
    assert engine.fallback is not None
    assert says[:60] in engine.fallback
    assert "\n" not in engine.fallback
    assert engine.budget_tokens <= TILES_BUDGET
    assert not engine.joins_shards


def test_a_compiler_that_fails_in_the_middle_of_a_stream_loses_nothing(compiler: Compiler) -> None:
    shards = [random_requests(seed=seed, n=60) for seed in range(5)]
    model, n_runs = tiny_model("llama"), [0]
    longest = max(shards, key=lambda shard: int(np.diff(shard.starts).max()))
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=256, trial=longest)
    engine.score(take(longest, np.arange(4)))

    def run(_: list[torch.Tensor]) -> None:
        n_runs[0] += 1
        if n_runs[0] > 20:
            raise RuntimeError("CUDA error: something else")

    compiler.on_run = run
    for scores, wanted in zip(engine.score_stream(shards), reference(model, shards), strict=True):
        close(scores, wanted, 5e-5)
    assert engine.name == "packed"
    assert "something else" in str(engine.fallback)
    assert "SDPA" in str(engine.fallback)


def test_a_kernel_too_large_for_the_card_is_tried_with_smaller_blocks(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    own = compiler.compile

    def compile_flex(graph: torch.fx.GraphModule, examples: object) -> object:
        if any("flex_attention" in str(node.target) for node in graph.graph.nodes):
            tried.append(1)
            if len(tried) <= 2:
                raise RuntimeError(
                    "No valid triton configs. OutOfMemoryError: out of resource: Required: 153600"
                )
        return own(graph, examples)

    monkeypatch.setattr(compiler, "compile", compile_flex)
    model, shard = tiny_model("llama"), random_requests(seed=5, n=60)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=256)
    first = gpu_of(engine).settings.options
    close(engine.score(shard), ReferenceEngine(model, vocab_size=VOCAB).score(shard), 5e-5)
    assert engine.joins_shards
    assert "smaller blocks" in str(engine.fallback)
    second = gpu_of(engine).settings.options
    assert second.rows * second.keys < first.rows * first.keys


def test_layers_that_cannot_be_compiled_run_as_they_are(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = compiler.compile

    def only_flex(graph: torch.fx.GraphModule, examples: object) -> object:
        if not any("flex_attention" in str(node.target) for node in graph.graph.nodes):
            raise RuntimeError("a layer that no compiler likes")
        return own(graph, examples)

    monkeypatch.setattr(compiler, "compile", only_flex)
    model, shard = tiny_model("llama"), random_requests(seed=5, n=60)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=256)
    close(engine.score(shard), ReferenceEngine(model, vocab_size=VOCAB).score(shard), 5e-5)
    assert engine.joins_shards
    assert "layers run uncompiled" in str(engine.fallback)
    assert (len(compiler.graphs), compiler.flex_graphs) == (1, 1)


@pytest.mark.parametrize("n_packs", [1, 5])
def test_a_broken_token_reaches_only_the_sequences_that_have_it(n_packs: int, compiler: Compiler) -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[50] = float("nan")
    random = np.random.default_rng(1)
    items = [([3, 4, 5, *random.integers(6, 90, 9).tolist()], 4) for _ in range(30 * n_packs)]
    # The first token of a pack pads it, so a pack may begin with a broken one.
    items += [([50, *random.integers(6, 49, 9).tolist()], 2) for _ in range(3)]
    shards = [pack_up(items[i::n_packs]) for i in range(n_packs)]
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=256)
    for scores, shard in zip(engine.score_stream(shards), shards, strict=True):
        sequences = [shard.tokens[a : b - 1] for a, b in pairwise(shard.starts.tolist())]
        assert np.isnan(scores.loglikelihood).tolist() == [50 in tokens for tokens in sequences]
        close(scores, ReferenceEngine(model, vocab_size=VOCAB).score(shard), 5e-5)
    assert engine.gpu is not None
    assert engine.gpu.counts.redone > 0


def test_a_model_that_is_sound_runs_nothing_twice(compiler: Compiler) -> None:
    engine = PackedEngine(tiny_model("gpt2"), vocab_size=VOCAB, budget_tokens=256)
    engine.score(random_requests(seed=2, n=80))
    assert engine.gpu is not None
    assert engine.gpu.counts.redone == 0


@pytest.mark.parametrize("architecture", ["bloom", "falcon", "gpt_neo", "mamba2"])
def test_a_model_that_cannot_be_packed_is_padded_with_a_reason(architecture: str, compiler: Compiler) -> None:
    model, shards = tiny_model(architecture), [random_requests(seed=seed, n=8) for seed in range(2)]
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=256)
    for scores, expected in zip(engine.score_stream(shards), reference(model, shards), strict=True):
        close(scores, expected)
    assert engine.name == "padded"
    assert engine.fallback
    assert not engine.joins_shards
    assert compiler.graphs == []


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_recorded_passes_give_the_same_scores(architecture: str, compiler: Compiler) -> None:
    shards = [shard_of_depth(40), shard_of_depth(300), random_requests(seed=1, n=60), shard_of_depth(250)]
    model = tiny_model(architecture)
    with torch.no_grad():
        model.model.embed_tokens.weight[50] = float("nan")
    plain = PackedEngine(model, vocab_size=VOCAB, budget_tokens=256, trial=shards[1])
    recorded = PackedEngine(
        model,
        vocab_size=VOCAB,
        budget_tokens=256,
        trial=shards[1],
        optimizations=Optimizations(pack_graphs=True),
    )
    for _ in range(2):
        for one, other in zip(recorded.score_stream(shards), plain.score_stream(shards), strict=True):
            close(one, other, 1e-5)
    assert recorded.gpu is not None
    assert recorded.fallback is None
    graphs = recorded.gpu.runner._graphs
    assert graphs is not None
    assert 4 <= len(graphs._recorded) <= 6, "one for each set of keys to read, or none, and to write"
    assert recorded.gpu.counts.redone > 0


def test_a_pass_that_cannot_be_recorded_runs_without_a_graph(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Accelerator, work: object) -> object:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(Accelerator, "record", refuse)
    model, shard = tiny_model("llama"), random_requests(seed=5, n=60)
    engine = PackedEngine(
        model, vocab_size=VOCAB, budget_tokens=256, optimizations=Optimizations(pack_graphs=True)
    )
    close(engine.score(shard), ReferenceEngine(model, vocab_size=VOCAB).score(shard), 5e-5)
    assert engine.joins_shards
    assert str(engine.fallback).startswith(
        "no CUDA graphs: RuntimeError: CUDA error: operation not permitted"
    )
