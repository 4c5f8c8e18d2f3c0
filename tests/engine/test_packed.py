"""The packed engine against the reference: every architecture, any cut into packs, and its fallbacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers

from milepost.engine import attention_hook, trial
from milepost.engine.attention_cpu import TileRunner
from milepost.engine.optimizations import SCORING, Optimizations
from milepost.engine.packed import PackedEngine
from milepost.engine.reference import ReferenceEngine
from milepost.engine.trial import Trial
from milepost.plan.sequences import longest, take
from milepost.types.sequences import Sequences
from tests.engine.models import CONFIGS, SMALL, VOCAB, close, pack_up, random_requests, tiny_model

FALLS_BACK = {"bloom", "falcon", "gpt_neo", "mamba2"}
FUNCTIONS = transformers.AttentionInterface._global_mapping
LONG = ["llama", "mistral with a window", "gemma2", "gpt2", "opt"]


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def long_requests() -> Sequences:
    """Return requests long enough for trunks, separate paths, causal calls and windows."""
    return random_requests(seed=5, n=24, longest=700)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_packed_equals_reference_or_gives_a_reason(architecture: str) -> None:
    model = tiny_model(architecture)
    sequences = random_requests(n=40)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=150)
    close(engine.score(sequences), ReferenceEngine(model, vocab_size=VOCAB).score(sequences), 2e-5)
    if architecture in FALLS_BACK:
        assert engine.name == "padded"
        assert "does not let its attention be replaced" in str(engine.fallback)
    else:
        assert (engine.name, engine.fallback) == ("packed", None)
        assert engine.optimizations.narrow_last_layer


@pytest.mark.parametrize("architecture", LONG)
def test_long_prefixes_score_as_in_the_reference(architecture: str) -> None:
    model = tiny_model(architecture)
    sequences = long_requests()
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=1000)
    close(engine.score(sequences), ReferenceEngine(model, vocab_size=VOCAB).score(sequences), 5e-5)
    assert engine.name == "packed"


def test_budget_order_and_threads_do_not_change_scores() -> None:
    model = tiny_model("llama")
    sequences = random_requests(seed=6, n=32)
    expected = PackedEngine(model, vocab_size=VOCAB).score(sequences)
    for budget in (7, 64, 333):
        close(PackedEngine(model, vocab_size=VOCAB, budget_tokens=budget).score(sequences), expected, 1e-5)
    with threads(2):
        close(PackedEngine(model, vocab_size=VOCAB).score(sequences), expected, 1e-5)
    order = np.random.default_rng(0).permutation(len(sequences))
    shuffled = PackedEngine(model, vocab_size=VOCAB).score(take(sequences, order))
    np.testing.assert_allclose(shuffled.loglikelihood, expected.loglikelihood[order], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(shuffled.greedy, expected.greedy[order])


def test_the_last_layer_runs_where_a_target_is_scored() -> None:
    model = tiny_model("llama")
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=16)
    prefix = list(range(4, 26))
    sequences = pack_up([([*prefix, 33, 34], 1), ([*prefix, 35, 36], 1), ([*prefix, 35, 37], 1)])
    engine.score(sequences)
    ran: dict[str, list[int]] = {"first": [], "last": []}
    for name, layer in zip(ran, cast(Any, model.model.layers), strict=True):
        layer.mlp.register_forward_pre_hook(lambda _, args, name=name: ran[name].append(args[0].shape[1]))
    engine.score(sequences)
    assert ran == {"first": [16, 8], "last": [1, 2]}


def test_a_last_layer_that_needs_all_rows_gets_them() -> None:
    model = tiny_model("llama")
    sequences = random_requests()
    expected = ReferenceEngine(model, vocab_size=VOCAB).score(sequences)
    entered: list[int] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: entered.append(args[0].shape[1]))

    def only_all(_: Any, args: tuple[torch.Tensor]) -> None:
        if args[0].shape[1] != entered[-1]:
            raise ValueError("not all rows")

    model.model.layers[-1].mlp.register_forward_pre_hook(only_all)
    engine = PackedEngine(model, vocab_size=VOCAB)
    close(engine.score(sequences), expected, 2e-5)
    assert engine.name == "packed"
    assert not engine.optimizations.narrow_last_layer


@pytest.mark.parametrize("name", SCORING)
def test_no_switch_changes_a_score(name: str) -> None:
    model = tiny_model("qwen2")
    sequences = long_requests()
    engine = PackedEngine(model, vocab_size=VOCAB, optimizations=Optimizations(**{name: False}))
    close(engine.score(sequences), PackedEngine(model, vocab_size=VOCAB).score(sequences), 5e-5)
    assert engine.name == "packed"


def test_only_unique_tokens_are_run() -> None:
    model = tiny_model("llama")
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=10)
    prefix = [4, 5, 6, 7, 8, 9, 10, 11, 12]
    sequences = pack_up([([*prefix, 13, 14], 1), ([*prefix, 15, 16], 1), ([*prefix, 15, 17], 1)])
    engine.score(sequences)
    ran: list[int] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: ran.append(args[0].numel()))
    engine.score(sequences)
    assert sum(ran) == len(prefix) + 2
    assert len(ran) > 1


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
    ],
)
def test_out_of_memory_halves_the_pack_and_changes_no_score(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    sequences = random_requests(seed=7, n=32)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=400)
    expected = engine.score(sequences)
    run, sizes = TileRunner.run, []

    def scarce(self: TileRunner, pack: Any, above: Any, rows: Any) -> Any:
        sizes.append(len(pack))
        if len(pack) > 90:
            raise error
        return run(self, pack, above, rows)

    monkeypatch.setattr(TileRunner, "run", scarce)
    close(engine.score(sequences), expected, 1e-5)
    assert max(sizes) > 200
    assert engine.budget_tokens <= 100


def test_nan_weights_give_nan_scores_and_keep_the_engine() -> None:
    model, sound = tiny_model("llama"), tiny_model("llama")
    engine = PackedEngine(model, vocab_size=VOCAB)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    sequences = random_requests()
    assert np.isnan(engine.score(sequences).loglikelihood).all()
    model.load_state_dict(sound.state_dict())
    close(engine.score(sequences), ReferenceEngine(sound, vocab_size=VOCAB).score(sequences), 2e-5)
    assert engine.name == "packed"


def test_a_token_with_broken_weights_reaches_only_the_sequences_that_have_it() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[50] = float("inf")
    random = np.random.default_rng(1)
    items = [([3, 4, 5, *random.integers(6, 90, 9).tolist()], 4) for _ in range(30)]
    sequences = pack_up(items)
    broken = [50 in tokens[:-1] for tokens, _ in items]
    scores = PackedEngine(model, vocab_size=VOCAB, budget_tokens=40).score(sequences)
    assert np.isnan(scores.loglikelihood).tolist() == broken
    assert any(broken)
    assert not all(broken)


def test_attention_with_sinks_falls_back_and_says_so() -> None:
    settings = SMALL | {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 16, "sliding_window": 8}
    config = transformers.GptOssConfig(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    engine = PackedEngine(model, vocab_size=VOCAB)
    close(engine.score(random_requests()), ReferenceEngine(model, vocab_size=VOCAB).score(random_requests()))
    assert engine.name == "padded"
    assert "s_aux" in str(engine.fallback)


def test_an_engine_with_other_scores_than_the_plain_forward_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("granite")
    wrong = attention_hook.packed_attention

    def forgets_the_scale(*args: Any, scaling: Any = None, **others: Any) -> Any:
        return wrong(*args, **others)

    monkeypatch.setitem(FUNCTIONS, attention_hook.NAME, forgets_the_scale)
    engine = PackedEngine(model, vocab_size=VOCAB)
    close(engine.score(random_requests()), ReferenceEngine(model, vocab_size=VOCAB).score(random_requests()))
    assert engine.name == "padded"
    assert "off the plain forward pass" in str(engine.fallback)


def test_a_model_that_skips_a_layers_attention_is_padded() -> None:
    model = tiny_model("llama")

    class Identity(torch.nn.Module):
        def forward(self, hidden_states: torch.Tensor, **_: object) -> tuple[torch.Tensor, None]:
            return hidden_states, None

    model.model.layers[0].self_attn = Identity()
    engine = PackedEngine(model, vocab_size=VOCAB)
    close(engine.score(random_requests()), ReferenceEngine(model, vocab_size=VOCAB).score(random_requests()))
    assert "called 1 times for 2 layers" in str(engine.fallback)


def test_longer_sequences_are_tried_again() -> None:
    model = tiny_model("mistral with a window")
    engine = PackedEngine(model, vocab_size=VOCAB)
    engine.score(pack_up([([5, 6, 7], 1)]))
    monkey = attention_hook.packed_attention

    def forgets_the_window(*args: Any, sliding_window: Any = None, **others: Any) -> Any:
        return monkey(*args, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FUNCTIONS, attention_hook.NAME, forgets_the_window)
        engine.score(random_requests())
    assert "off the plain forward pass" in str(engine.fallback)


def test_a_trial_on_the_longest_of_all_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def counted(module: Any, vocab_size: int, sequences: Sequences, **options: Any) -> Trial:
        tried.append(longest(sequences))
        return Trial(module, vocab_size, sequences, **options)

    monkeypatch.setattr(trial, "Trial", counted)
    model = tiny_model("llama")
    every = random_requests()
    by_length = np.argsort(np.diff(every.starts))
    parts = [take(every, part) for part in np.array_split(by_length, 4)]
    engine = PackedEngine(model, vocab_size=VOCAB, trial=every)
    for part in parts:
        close(engine.score(part), ReferenceEngine(model, vocab_size=VOCAB).score(part))
    assert tried == [longest(every)]

    untold = PackedEngine(model, vocab_size=VOCAB)
    for part in parts:
        untold.score(part)
    assert tried[1:] == sorted({longest(part) for part in parts})
    assert len(tried) > 2


def test_the_models_own_attention_is_back_after_scoring() -> None:
    model = tiny_model("llama")
    before = model.config._attn_implementation
    PackedEngine(model, vocab_size=VOCAB).score(random_requests())
    assert model.config._attn_implementation == before


def test_scores_in_bfloat16_stay_near_those_in_float32() -> None:
    model = tiny_model("llama")
    sequences = random_requests()
    expected = ReferenceEngine(model, vocab_size=VOCAB).score(sequences)
    engine = PackedEngine(model.to(torch.bfloat16), vocab_size=VOCAB)
    scores = engine.score(sequences)
    assert engine.name == "packed"
    assert np.abs(scores.loglikelihood - expected.loglikelihood).max() < 0.5
