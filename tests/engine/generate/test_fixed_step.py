"""Decode steps of fixed shapes, on a CPU that emulates a GPU: the same texts, few recordings and waits."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from milepost.engine.accelerator import EMULATE, Accelerator
from milepost.engine.generate.batched import BatchedGenerator
from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.generate.selection import VerifiedGenerator
from milepost.engine.generate.step_graph import StepGraph
from milepost.engine.optimizations import Optimizations
from tests.engine.generate.test_generator import CODEC, FALLS_BACK, TASKS, by_reference
from tests.engine.models import CONFIGS, VOCAB, tiny_model
from tests.engine.texts import asking, prompts

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATE, "eager")
    monkeypatch.setattr(StepGraph, "n_recorded", 0)


def generator_of(model: torch.nn.Module, **more: Any) -> BatchedGenerator:
    return BatchedGenerator(model, CODEC, vocab_size=VOCAB, **more)


@pytest.mark.parametrize("architecture", [name for name in CONFIGS if name not in FALLS_BACK])
def test_every_architecture_gives_the_texts_of_the_reference(architecture: str) -> None:
    model = tiny_model(architecture)
    generator = VerifiedGenerator(model, CODEC, vocab_size=VOCAB)
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())
    assert (generator.name, generator.fallback) == ("batched", None)
    batched: Any = generator._generator
    assert batched.decoder.reason is None, batched.decoder.reason
    assert batched.decoder.n_graphs


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("max_rows", [2, 16])
def test_every_task_option_gives_the_texts_of_the_reference(task: str, max_rows: int) -> None:
    model = tiny_model("llama")
    generator = generator_of(model, max_rows=max_rows)
    assert generator.generate(prompts(), TASKS[task]) == by_reference(model, TASKS[task])


OWN = (
    "fixed_steps",
    "decode_graphs",
    "look_ahead",
    "refill",
    "drop_finished",
    "share_prefixes",
    "copy_prefixes",
)


@pytest.mark.parametrize("off", OWN)
@pytest.mark.parametrize("max_rows", [1, 4])
def test_no_switch_changes_a_text(off: str, max_rows: int) -> None:
    model = tiny_model("llama")
    optimizations = dataclasses.replace(Optimizations(), **{off: False})
    generator = generator_of(model, optimizations=optimizations, max_rows=max_rows, budget_tokens=64)
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())
    recorded = off not in ("fixed_steps", "decode_graphs")
    assert (StepGraph.n_recorded > 0) == recorded


def test_steps_are_recorded_once_for_all_shards_and_checkpoints_of_a_series() -> None:
    model, other = tiny_model("llama"), tiny_model("llama", seed=1)
    generator = generator_of(model, max_rows=4)
    for _ in range(3):
        for asked in (prompts(), prompts(seed=1), prompts(n=6)):
            expected = ReferenceGenerator(model, CODEC, vocab_size=VOCAB).generate(asked, asking())
            assert generator.generate(asked, asking()) == expected
        with torch.no_grad():
            for mine, new in zip(model.parameters(), other.parameters(), strict=True):
                mine.copy_(new)
    assert 1 <= StepGraph.n_recorded <= 3


@pytest.mark.parametrize("look_ahead", [True, False])
def test_the_host_waits_once_a_step_at_most(look_ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    optimizations = Optimizations(look_ahead=look_ahead)
    generator = generator_of(model, optimizations=optimizations)
    waited: list[str] = []
    for name in ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__int__"):
        right = getattr(torch.Tensor, name)

        def counted(self: Any, *arguments: Any, _right: Any = right, _name: str = name, **named: Any) -> Any:
            waited.append(_name)
            return _right(self, *arguments, **named)

        monkeypatch.setattr(torch.Tensor, name, counted)
    order: list[str] = []
    launch, arrays = Accelerator.fetch, None
    from milepost.engine.accelerator import Fetch

    arrays = Fetch.arrays
    monkeypatch.setattr(Accelerator, "fetch", lambda self, *t: order.append("launch") or launch(self, *t))
    monkeypatch.setattr(Fetch, "arrays", lambda self: order.append("wait") or arrays(self))
    asked = asking(until=(), max_new_tokens=20)
    asked = dataclasses.replace(asked, until=(), stop_tokens=())
    generator.generate(prompts(n=6, shared=20), asked)
    assert generator.accelerator is not None
    assert generator.accelerator.waits <= generator.n_steps
    assert order.count("launch") == order.count("wait") == generator.n_steps
    ahead = sum(one == two == "launch" for one, two in itertools.pairwise(order))
    assert ahead == (1 if look_ahead else 0), "a step is under way whenever the host waits, until the last"
    # A step's is Fetch's own; prompts' first tokens are chosen on the host, once for all read together.
    assert len(waited) <= generator.n_steps + 6, waited


def test_a_row_of_nan_changes_no_other_row() -> None:
    model: Any = tiny_model("llama")
    poison = VOCAB - 1
    asked = [np.where(prompt == poison, 3, prompt).astype(np.int32) for prompt in prompts()]
    asked[4] = np.append(asked[4], np.int32(poison))
    with torch.no_grad():
        model.get_input_embeddings().weight[poison] = torch.nan
        model.get_output_embeddings().weight.copy_(torch.nan_to_num(model.get_output_embeddings().weight))
    expected = ReferenceGenerator(model, CODEC, vocab_size=VOCAB).generate(asked, asking())
    assert expected[4] is None
    generator = generator_of(model, max_rows=3)
    for _ in range(2):
        assert generator.generate(asked, asking()) == expected


def test_running_out_of_memory_halves_the_rows_and_costs_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from milepost.engine.generate.fixed_step import FixedDecoder

    model = tiny_model("llama")
    generator = generator_of(model, max_rows=8)
    right, sizes = FixedDecoder._step, []

    def scarce(self: FixedDecoder, n_keys: int) -> None:
        sizes.append(self.sizes.n_slots)
        if self.sizes.n_slots > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        right(self, n_keys)

    monkeypatch.setattr(FixedDecoder, "_step", scarce)
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())
    assert sorted(set(sizes), reverse=True) == [8, 4, 2]
    assert generator.max_rows == 2


def test_as_many_rows_run_as_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from milepost.engine.generate import batched

    model = tiny_model("llama")
    expected = by_reference(model, asking())
    # 2 tensors x 2 layers x 2 heads x 8 x 4 bytes = 256 bytes a token, 128 or 256 tokens a slot.
    monkeypatch.setattr(batched, "free_bytes", lambda device: 2 * 3 * 256 * 256)
    generator = generator_of(model)
    assert generator.generate(prompts(), asking()) == expected
    assert generator.decoder is not None
    assert 3 <= generator.decoder.sizes.n_slots <= 6


def test_a_step_that_cannot_be_recorded_is_launched_kernel_by_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_model("llama")
    layer = model.model.layers[0]
    right = layer.forward

    def looking(hidden: torch.Tensor, *others: Any, **named: Any) -> Any:
        assert hidden.sum().item() is not None
        return right(hidden, *others, **named)

    monkeypatch.setattr(layer, "forward", looking)
    generator = generator_of(model)
    assert generator.generate(prompts(), asking()) == by_reference(tiny_model("llama"), asking())
    assert generator.decoder is not None
    assert "not permitted when stream is capturing" in str(generator.decoder.reason)
    assert StepGraph.n_recorded == 0


def test_long_texts_read_more_of_their_slots() -> None:
    model = tiny_model("llama")
    asked = dataclasses.replace(asking(max_new_tokens=150), until=(), stop_tokens=())
    expected = ReferenceGenerator(model, CODEC, vocab_size=VOCAB).generate(prompts(n=4), asked)
    generator = generator_of(model)
    assert generator.generate(prompts(n=4), asked) == expected
    assert StepGraph.n_recorded == 3


@pytest.mark.parametrize("options", [(), (("repetition_penalty", 1.3),)])
def test_the_prompt_of_a_row_that_ended_stays_in_its_slot_to_be_copied(options: tuple[Any, ...]) -> None:
    model = tiny_model("llama")
    random = np.random.default_rng(3)
    first, *others = [random.integers(3, VOCAB, n).astype(np.int32) for n in (60, 30, 33, 31, 29, 28)]
    wanted = asking(until=(), max_new_tokens=20, options=options)
    (text,) = ReferenceGenerator(model, CODEC, vocab_size=VOCAB).generate([first], wanted)[0] or [""]
    ends_soon = dataclasses.replace(wanted, until=(text[1],))
    optimizations = Optimizations(share_prefixes=False, sort_by_length=False)
    kept = []
    for asked in ([first, *others], [first]):
        generator = generator_of(model, max_rows=8, optimizations=optimizations)
        texts = generator.generate(asked, ends_soon)
        assert generator.decoder is not None
        kept.append([generator.decoder.cache.read(layer, 0, len(first)) for layer in range(2)])
        if len(asked) > 1:
            assert generator.n_steps > 5, "the first has ended, and the others went on"
            assert len((texts[0] or [""])[0]) <= 1
    for with_others, alone in zip(*kept, strict=True):
        for one, other in zip(with_others, alone, strict=True):
            torch.testing.assert_close(one, other)


def test_a_slot_is_cleared_of_nan_for_its_next_row() -> None:
    """Slots without a row go on with token 0, whose embedding is NaN here."""
    model: Any = tiny_model("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[[0, VOCAB - 1]] = torch.nan
        head = model.get_output_embeddings().weight
        head.copy_(torch.nan_to_num(head))
    asked = [np.where(prompt == VOCAB - 1, 3, prompt).astype(np.int32) for prompt in prompts(n=12)]
    wanted = asking(until=("A", "B", "C", "xy"))
    expected = ReferenceGenerator(model, CODEC, vocab_size=VOCAB).generate(asked, wanted)
    assert sum(texts is not None for texts in expected) > 6
    for max_rows in (1, 3, 16):
        generator = generator_of(model, max_rows=max_rows)
        for some in (asked, asked[:5], asked[5:]):
            offset = 5 if len(some) == len(asked[5:]) else 0
            assert generator.generate(some, wanted) == expected[offset : offset + len(some)]
