"""Half-precision products on a processor without instructions for them run in float32 and are rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from milepost.engine import half_precision as products
from milepost.engine.attention_call import AttentionCall
from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.generate.trial import GenerationTrial
from milepost.engine.half_precision import MIN_ROWS, as_they_are, has_instructions, upcast_matmuls
from milepost.engine.optimizations import Optimizations
from milepost.engine.packed import PackedEngine
from milepost.engine.trial import Trial, are_widened_right
from tests.engine.models import VOCAB, random_requests, tiny_model
from tests.engine.texts import Characters, asking

HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def a_processor_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "has_instructions", lambda dtype: False)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Return the dtypes of all factors that were cast to float32."""
    found: list[torch.dtype] = []
    widened = products.upcast

    def noted(value: object) -> object:
        if isinstance(value, torch.Tensor):
            found.append(value.dtype)
        return widened(value)

    monkeypatch.setattr(products, "upcast", noted)
    return found


@pytest.mark.parametrize("dtype", HALVES)
def test_a_wide_product_is_the_float32_product_rounded_once(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(64, 48).to(dtype)
    x = torch.randn(3, 20, 64, generator=generator).to(dtype)
    exact = torch.nn.functional.linear(x.float(), layer.weight.float(), layer.bias.float()).to(dtype)
    with upcast_matmuls(layer):
        assert torch.equal(layer(x), exact)
        assert torch.equal(x @ layer.weight.T, (x.float() @ layer.weight.T.float()).to(dtype))
        assert torch.equal(
            torch.addmm(layer.bias, x[0], layer.weight.T),
            torch.addmm(layer.bias.float(), x[0].float(), layer.weight.T.float()).to(dtype),
        )


def test_float32_models_and_few_rows_are_left_alone(taken: list[torch.dtype]) -> None:
    layer = torch.nn.Linear(8, 8)
    with upcast_matmuls(layer):
        layer(torch.ones(100, 8))
    assert taken == []
    half = torch.nn.Linear(8, 8).bfloat16()
    with upcast_matmuls(half):
        half(torch.ones(MIN_ROWS - 1, 8).bfloat16())
        assert taken == []
        half(torch.ones(MIN_ROWS, 8).bfloat16())
        assert set(taken) == {torch.bfloat16}


def test_a_processor_with_such_instructions_uses_them(
    monkeypatch: pytest.MonkeyPatch, taken: list[torch.dtype]
) -> None:
    monkeypatch.setattr(products, "has_instructions", lambda dtype: True)
    half = torch.nn.Linear(8, 8).bfloat16()
    with upcast_matmuls(half):
        half(torch.ones(100, 8).bfloat16())
    assert taken == []


@pytest.mark.parametrize(
    ("processor", "found"),
    [
        ({"avx512", "avx512_bf16"}, True),  # Zen 4
        ({"avx512", "amx_tile"}, True),
        ({"avx512"}, False),  # Ice Lake, Cascade Lake, Skylake-X: oneDNN says that bfloat16 is supported
        (set(), True),  # Arm, and AVX2 with AVX-NE-CONVERT: as oneDNN says
    ],
)
def test_bfloat16_that_onednn_takes_apart_counts_as_no_instructions(
    processor: set[str], found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("avx512", "avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in processor)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert has_instructions(torch.bfloat16) == found
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert not has_instructions(torch.bfloat16)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "mixtral"])
def test_scores_are_as_near_to_float32_as_with_torchs_own_products(
    name: str, taken: list[torch.dtype]
) -> None:
    sequences = random_requests(seed=1)
    exact = PackedEngine(tiny_model(name), vocab_size=VOCAB).score(sequences).loglikelihood
    errors = {}
    for wide in (True, False):
        taken.clear()
        engine = PackedEngine(
            tiny_model(name).bfloat16(), vocab_size=VOCAB, optimizations=Optimizations(upcast_matmuls=wide)
        )
        errors[wide] = np.abs(engine.score(sequences).loglikelihood - exact)
        assert engine.name == "packed"
        assert bool(taken) == wide
    assert errors[True].mean() < 1.2 * errors[False].mean() + 1e-3


def test_an_attention_is_looked_at_only_where_torchs_kernel_cannot_compute_it(
    taken: list[torch.dtype],
) -> None:
    layer = torch.nn.Linear(8, 8).bfloat16()
    heads = torch.ones(1, 2, 5, 8).bfloat16()
    for softcap, is_widened in ((None, False), (30.0, True)):
        taken.clear()
        call = AttentionCall(heads, heads, heads, 1.0, softcap=softcap)
        with upcast_matmuls(layer), as_they_are(call):
            torch.matmul(call.query, call.key.transpose(-1, -2))
        assert bool(taken) == is_widened


@pytest.mark.parametrize("wide", [True, False])
def test_the_reference_of_a_trial_multiplies_as_the_engine_does(wide: bool, taken: list[torch.dtype]) -> None:
    model = tiny_model("llama").bfloat16()
    trial = Trial(model, VOCAB, random_requests(seed=1), upcast=wide)
    assert len(trial.probes)
    assert bool(taken) == wide
    taken.clear()
    prompts = [np.arange(3, 3 + n, dtype=np.int32) for n in (20, 12)]
    asked = asking(until=(), max_new_tokens=3)
    texts = GenerationTrial(model, Characters(), VOCAB, prompts, asked, upcast=wide)
    assert texts.verdict(ReferenceGenerator(model, Characters(), vocab_size=VOCAB)) == (None, True)
    assert bool(taken) == wide


def test_products_that_widening_changes_are_left_to_torch_in_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama").bfloat16()
    tokens = np.arange(3, 20, dtype=np.int32)
    assert are_widened_right(model, tokens)
    widened = products.upcast
    monkeypatch.setattr(products, "upcast", lambda value: widened(value) * 1.5)
    assert not are_widened_right(model, tokens)
