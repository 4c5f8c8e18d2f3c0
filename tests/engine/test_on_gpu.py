"""On a CUDA GPU: scores and texts of the packed path against the reference, for every kind of model and card.

All tests marked `gpu` are skipped where there is none. Their twins run the same on a CPU, with the GPU path
emulated where that says something; `test_flex.py` looks at that path more closely.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from milepost.doctor.gpu import try_attention
from milepost.engine import build_engine, build_generator
from milepost.engine.generate.batched import BatchedGenerator
from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.kernel_options import BLOCK, Card, KernelOptions, fitting_options
from milepost.engine.optimizations import SCORING, Optimizations
from milepost.engine.packed import PackedEngine
from milepost.engine.padded import PaddedEngine
from milepost.engine.reference import ReferenceEngine
from milepost.plan.plan_files import load_plan
from milepost.plan.tree import build_tree
from milepost.run.score_plan import score_plan
from milepost.store import ResultsFolder
from milepost.types.sequences import Scores, Sequences
from tests.engine.models import CONFIGS, VOCAB, random_requests
from tests.engine.texts import Characters, asking, prompts

pytestmark = pytest.mark.slow

PACKED = (
    "llama", "qwen2", "qwen3", "mistral", "mistral with a window", "gemma2", "gemma3", "phi3", "olmo2",
    "gpt2", "gpt_neox", "opt", "granite", "cohere", "mixtral",
)  # fmt: skip
FALLS_BACK = ("bloom", "falcon", "gpt_neo", "mamba2")
DTYPES = ("float32", "float16", "bfloat16")
HEAD_SIZES = (16, 32, 48, 64, 80, 96, 128, 160, 192, 256)
N_HEADS = 4
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
EMULATED = "MILEPOST_EMULATED_GPU"
"""The engine's own switch for tests: a backend of torch.compile with which a CPU stands in for a GPU."""
ON_GPU = pytest.param("cuda", marks=pytest.mark.gpu)


@pytest.fixture(params=[ON_GPU, "cpu"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a GPU, or a CPU that takes the GPU path."""
    torch.compiler.reset()
    if request.param == "cpu":
        monkeypatch.setenv(EMULATED, "eager")
    yield request.param
    torch.compiler.reset()
    if request.param == "cuda":
        torch.cuda.empty_cache()


def model_of(architecture: str, head_size: int = 32, seed: int = 0) -> torch.nn.Module:
    """Return a small model in float32 on the CPU, with heads as large as a kernel needs."""
    config_class, settings = CONFIGS[architecture]
    settings = dict(settings)
    if "state_size" not in settings:  # a state space model has no heads of attention
        width = next(key for key in ("hidden_size", "n_embd") if key in settings)
        settings[width] = N_HEADS * head_size
        if "head_dim" in settings:
            settings["head_dim"] = head_size
    config = getattr(transformers, config_class)(**settings)
    torch.manual_seed(seed)
    model: torch.nn.Module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "conv" not in name:
                parameter.normal_(0, 1.4 * (N_HEADS * head_size) ** -0.5)
    return model.eval().requires_grad_(False)


def truth(model: torch.nn.Module, sequences: Sequences) -> Scores:
    """Score one sequence at a time, in float32 on the CPU."""
    return ReferenceEngine(model, vocab_size=VOCAB).score(sequences)


def moved(model: torch.nn.Module, device: str, dtype: str) -> torch.nn.Module:
    return model.to(device, getattr(torch, dtype))


def check(found: Scores, expected: Scores, plain: Scores | None = None) -> None:
    """Check scores: in float32 within 1e-4 nats, else not much worse than those of padded batches."""
    off = np.abs(found.loglikelihood - expected.loglikelihood)
    if plain is None:
        assert off.max() <= 1e-4
        return
    own = np.abs(plain.loglikelihood - expected.loglikelihood)
    assert off.max() <= 2 * own.max() + 0.02
    assert off.mean() <= 1.5 * own.mean() + 0.005


def score_and_check(model: torch.nn.Module, device: str, dtype: str, sequences: Sequences) -> PackedEngine:
    expected = truth(model, sequences)
    on_device = moved(model, device, dtype)
    engine = PackedEngine(on_device, vocab_size=VOCAB, budget_tokens=256, trial=sequences)
    found = [engine.score(sequences) for _ in range(2)]
    np.testing.assert_array_equal(found[0].loglikelihood, found[1].loglikelihood)
    plain = None
    if dtype != "float32":
        plain = PaddedEngine(on_device, vocab_size=VOCAB).score(sequences)
    check(found[0], expected, plain)
    return engine


def check_packed(engine: PackedEngine, architecture: str) -> None:
    """transformers 5.17 computes gemma2 without its soft cap; ours differs from it there, and says so."""
    uncapped = architecture == "gemma2" and "nats off" in str(engine.fallback)
    assert engine.name == "packed" or uncapped, engine.fallback


def skip_without(dtype: str) -> None:
    if dtype == "bfloat16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this card has no bfloat16")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("architecture", PACKED)
def test_every_architecture_is_right_on_a_gpu(architecture: str, dtype: str) -> None:
    skip_without(dtype)
    engine = score_and_check(model_of(architecture), "cuda", dtype, random_requests(seed=8, n=60))
    check_packed(engine, architecture)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head_size", HEAD_SIZES)
def test_every_head_size_is_right_on_a_gpu(head_size: int, dtype: str) -> None:
    skip_without(dtype)
    sequences = random_requests(seed=9, n=40, longest=300)
    engine = score_and_check(model_of("llama", head_size), "cuda", dtype, sequences)
    assert engine.name == "packed", engine.fallback


@pytest.mark.parametrize(("architecture", "head_size"), [("llama", 16), ("gemma2", 24), ("gpt2", 64)])
def test_some_architectures_are_right_on_every_device(architecture: str, head_size: int, device: str) -> None:
    engine = score_and_check(model_of(architecture, head_size), device, "float32", random_requests(n=40))
    check_packed(engine, architecture)


@pytest.mark.parametrize("architecture", FALLS_BACK)
def test_a_model_that_cannot_be_packed_says_so_and_is_right(architecture: str, device: str) -> None:
    sequences = random_requests(seed=1, n=16)
    engine = score_and_check(model_of(architecture), device, "float32", sequences)
    assert engine.name == "padded"
    assert engine.fallback


def test_heads_below_the_kernels_minimum_are_right(device: str) -> None:
    model = model_of("llama", head_size=8)
    sequences = random_requests(seed=2, n=24)
    expected = truth(model, sequences)
    engine = build_engine("auto", moved(model, device, "float32"), vocab_size=VOCAB)
    check(engine.score(sequences), expected)


@pytest.mark.parametrize("budget_tokens", [64, 256, 1024, None])
def test_the_budget_changes_no_score(budget_tokens: int | None, device: str) -> None:
    model, sequences = model_of("llama"), random_requests(seed=3, n=60, longest=200)
    expected = truth(model, sequences)
    engine = PackedEngine(moved(model, device, "float32"), vocab_size=VOCAB, budget_tokens=budget_tokens)
    check(engine.score(sequences), expected)
    assert engine.name == "packed", engine.fallback


@pytest.mark.parametrize("switch", SCORING)
def test_each_optimisation_can_be_off(switch: str, device: str) -> None:
    model, sequences = model_of("llama"), random_requests(seed=4, n=40)
    expected = truth(model, sequences)
    engine = PackedEngine(
        moved(model, device, "float32"),
        vocab_size=VOCAB,
        budget_tokens=256,
        optimizations=Optimizations(**{switch: False}),
    )
    check(engine.score(sequences), expected)


def test_weights_change_in_place_without_compiling_again(device: str) -> None:
    models = [model_of("llama", seed=seed) for seed in range(3)]
    sequences = random_requests(seed=5, n=80)
    expected = [truth(model, sequences) for model in models]
    live = moved(model_of("llama"), device, "float32")
    engine = PackedEngine(live, vocab_size=VOCAB, budget_tokens=256, trial=sequences)
    before = 0
    for number, (model, wanted) in enumerate(zip(models, expected, strict=True)):
        with torch.no_grad():
            for own, new in zip(live.parameters(), model.parameters(), strict=True):
                own.copy_(new)
        check(engine.score(sequences), wanted)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert number == 0 or graphs == before
        before = graphs


@pytest.mark.gpu
def test_memory_that_runs_out_costs_pack_size_and_no_score() -> None:
    model, sequences = model_of("llama", head_size=64), random_requests(seed=6, n=600, longest=900)
    expected = truth(model, sequences)
    live = moved(model, "cuda", "float32")
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    room = torch.cuda.memory_reserved() + 1.5e9
    torch.cuda.set_per_process_memory_fraction(min(1.0, room / total))
    try:
        engine = PackedEngine(live, vocab_size=VOCAB, budget_tokens=131_072, trial=sequences)
        check(engine.score(sequences), expected)
        assert engine.budget_tokens >= 1024, "halved a few times, not to nothing"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.gpu
def test_the_host_waits_at_most_twice_a_pack() -> None:
    model, sequences = model_of("llama", head_size=64), random_requests(seed=7, n=400, longest=400)
    live = moved(model, "cuda", "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16")
    budget = 2048
    engine = PackedEngine(live, vocab_size=VOCAB, budget_tokens=budget, trial=sequences)
    engine.score(sequences)
    n_packs = -(-len(build_tree(sequences)) // budget)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            engine.score(sequences)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [f"{one.filename}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
    assert len(waits) <= 2 * n_packs + 8, waits[:20]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head_size", [64, 128, 256])
def test_every_tile_that_fits_the_card_compiles_and_is_right(head_size: int, dtype: str) -> None:
    skip_without(dtype)
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    wanted = getattr(torch, dtype)
    query, key, value = torch.randn(3, 1, 2, 256, head_size, device="cuda", dtype=wanted).unbind(0)
    mask = create_block_mask(lambda b, h, q, k: k <= q, None, None, 256, 256, "cuda", BLOCK)
    plain = torch.nn.functional.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), is_causal=True
    )
    failed: list[tuple[KernelOptions, str]] = []
    for options in fitting_options(head_size, wanted, Card.of(torch.device("cuda"))):
        torch.compiler.reset()
        compiled: Any = torch.compile(flex_attention, dynamic=False)
        try:
            found = compiled(query, key, value, block_mask=mask, kernel_options=options.for_flex())
        except Exception as error:
            failed.append((options, str(error)[-300:]))
            continue
        assert (found.double() - plain).abs().max() < (1e-4 if dtype == "float32" else 0.05)
    assert failed == []


@pytest.mark.gpu
def test_the_doctor_finds_every_card_in_order() -> None:
    for number in range(torch.cuda.device_count()):
        finding = try_attention(f"cuda:{number}")
        assert finding.status == "ok", finding


@pytest.mark.gpu
def test_the_named_device_computes() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one card here")
    last = torch.cuda.device_count() - 1
    before = torch.cuda.memory_allocated(0)
    model, sequences = model_of("llama"), random_requests(n=40)
    expected = truth(model, sequences)
    engine = PackedEngine(moved(model, f"cuda:{last}", "float32"), vocab_size=VOCAB, trial=sequences)
    check(engine.score(sequences), expected)
    assert torch.cuda.memory_allocated(0) == before


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mamba2"])
def test_texts_are_those_of_the_reference(architecture: str, device: str) -> None:
    model = model_of(architecture)
    expected = ReferenceGenerator(model, Characters(), vocab_size=VOCAB).generate(prompts(), asking())
    live = moved(model, device, "float32")
    generator = build_generator("auto", live, Characters(), vocab_size=VOCAB)
    assert generator.generate(prompts(), asking()) == expected


@pytest.mark.parametrize("off", ["", "decode_graphs", "look_ahead", "fixed_steps"])
def test_texts_do_not_depend_on_how_steps_are_launched(off: str, device: str) -> None:
    model = model_of("llama")
    expected = ReferenceGenerator(model, Characters(), vocab_size=VOCAB).generate(prompts(), asking())
    generator = BatchedGenerator(
        moved(model, device, "float32"),
        Characters(),
        vocab_size=VOCAB,
        max_rows=4,
        optimizations=Optimizations(**{off: False} if off else {}),
    )
    for _ in range(2):
        assert generator.generate(prompts(), asking()) == expected
    if off != "fixed_steps":
        assert generator.decoder is not None
        assert (generator.decoder.n_graphs > 0) == (off != "decode_graphs"), generator.decoder.reason


def test_a_whole_run_from_disk_stores_the_scores_of_the_reference(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    importlib.import_module("saved_plans").save_made_up_plan(tmp_path / "plan", docs=30)
    folders = importlib.import_module("random_series").make_series(
        tmp_path / "series", "tiny", 3, "float32", "cpu"
    )
    outcome = score_plan(tmp_path / "plan", [tmp_path / "series"], tmp_path / "out", device=device)
    assert (len(outcome.scored), outcome.failed) == (3, [])
    plan = load_plan(tmp_path / "plan")
    stored = scores_by_checkpoint(outcome.results.path, outcome.results)
    for folder in folders:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        engine = ReferenceEngine(model, vocab_size=model.config.vocab_size)
        expected = {
            shard.shard_id: engine.score(task.sequences_of(shard)).loglikelihood
            for task in plan.tasks
            for shard in task.shards
        }
        nearest = min(
            max(np.abs(scores[name] - expected[name]).max() for name in expected) for scores in stored
        )
        assert nearest <= 1e-4


def scores_by_checkpoint(folder: Path, results: ResultsFolder) -> list[dict[str, Any]]:
    """Return the log-likelihoods by shard of each model in the store."""
    found: dict[str, dict[str, Any]] = {}
    for path in (folder / "store" / "scores").rglob("*.parquet"):
        found.setdefault(path.parents[1].name, {})[path.stem] = results.read_scores(path)[0]
    return list(found.values())
