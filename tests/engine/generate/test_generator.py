"""The generators against the reference: every architecture, each optimization off, draws, rows of NaN."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from milepost.engine import build_generator
from milepost.engine.attention_call import AttentionCall
from milepost.engine.attention_dense import Partial
from milepost.engine.generate.batched import BatchedGenerator
from milepost.engine.generate.padded import PaddedGenerator
from milepost.engine.generate.reference import ReferenceGenerator
from milepost.engine.generate.selection import VerifiedGenerator
from milepost.engine.optimizations import GENERATION, Optimizations
from milepost.errors import MilepostError
from milepost.types.generation import Generation
from tests.engine.models import CONFIGS, VOCAB, tiny_model
from tests.engine.texts import CHARACTERS, Characters, asking, prompts

CODEC = Characters()
FALLS_BACK = {"bloom", "falcon", "gpt_neo", "mamba2"}
TASKS = {
    "greedy": asking(),
    "with penalties": asking(options=(("no_repeat_ngram_size", 3), ("repetition_penalty", 1.3))),
    "drawn": asking(
        do_sample=True, temperature=0.8, options=(("top_k", 20), ("top_p", 0.9)), n_answers=2, seed=7
    ),
}


REMEMBERED: dict[tuple[str, Generation], list[list[str] | None]] = {}


def by_reference(model: torch.nn.Module, generation: Generation) -> list[list[str] | None]:
    """Return the reference's texts for a model of `tiny_model`, whose weights are always the same."""
    key = model.config.to_json_string(), generation
    if key not in REMEMBERED:
        generator = ReferenceGenerator(model, CODEC, vocab_size=VOCAB)
        REMEMBERED[key] = generator.generate(prompts(), generation)
    return REMEMBERED[key]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_every_architecture_gives_the_texts_of_the_reference(architecture: str) -> None:
    model = tiny_model(architecture)
    generator = VerifiedGenerator(model, CODEC, vocab_size=VOCAB)
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())
    assert generator.name == ("padded" if architecture in FALLS_BACK else "batched"), generator.fallback


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("generator", [BatchedGenerator, PaddedGenerator])
def test_every_task_option_gives_the_same_texts_in_every_generator(
    task: str, generator: type[BatchedGenerator]
) -> None:
    model = tiny_model("llama")
    expected = by_reference(model, TASKS[task])
    assert generator(model, CODEC, vocab_size=VOCAB).generate(prompts(), TASKS[task]) == expected
    assert len({texts[0] for texts in expected if texts}) > 3


@pytest.mark.parametrize("off", GENERATION)
@pytest.mark.parametrize("max_rows", [1, 4])
def test_no_optimisation_changes_a_text(off: str, max_rows: int) -> None:
    model = tiny_model("llama")
    generator = BatchedGenerator(
        model,
        CODEC,
        vocab_size=VOCAB,
        budget_tokens=64,
        optimizations=dataclasses.replace(Optimizations(), **{off: False}),
        max_rows=max_rows,
    )
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())


def counted(generator: BatchedGenerator, generation: Generation) -> tuple[int, int]:
    """Return the tokens that entered the model and the steps of a generation."""
    seen = []
    hook = generator.model.module.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].numel())
    )
    generator.generate(prompts(n=9), generation)
    hook.remove()
    return sum(seen), generator.n_steps


@pytest.mark.parametrize("off", ["share_prefixes", "copy_prefixes", "drop_finished", "refill"])
def test_each_optimisation_saves_work(off: str) -> None:
    model, wanted = tiny_model("llama"), asking(until=("A", "xy"), max_new_tokens=24)
    both = [
        BatchedGenerator(model, CODEC, vocab_size=VOCAB, max_rows=4, optimizations=optimizations)
        for optimizations in (Optimizations(), dataclasses.replace(Optimizations(), **{off: False}))
    ]
    (tokens, steps), (more_tokens, more_steps) = (counted(generator, wanted) for generator in both)
    if off == "refill":
        assert steps < more_steps
    else:
        assert tokens < more_tokens


def test_prompts_that_share_nothing_and_a_single_one_are_continued_as_well() -> None:
    model = tiny_model("qwen3")
    for asked in (prompts(shared=0), prompts()[:1], []):
        expected = ReferenceGenerator(model, CODEC, vocab_size=VOCAB).generate(asked, asking())
        assert BatchedGenerator(model, CODEC, vocab_size=VOCAB).generate(asked, asking()) == expected


def test_a_text_that_never_ends_is_as_long_as_it_may_be() -> None:
    asked = Generation(until=(), max_new_tokens=7)
    for texts in VerifiedGenerator(tiny_model("llama"), CODEC, vocab_size=VOCAB).generate(prompts(), asked):
        assert texts is not None
        shown = [CHARACTERS.index(character) for character in texts[0].replace("<pad>", "")]
        assert len(shown) <= 7


def test_draws_depend_on_the_seed_and_not_on_the_batch() -> None:
    model, drawn = tiny_model("llama"), TASKS["drawn"]
    generator = BatchedGenerator(model, CODEC, vocab_size=VOCAB)
    together = generator.generate(prompts(), drawn)
    alone = [generator.generate([prompt], drawn)[0] for prompt in prompts()]
    assert together == alone
    assert generator.generate(prompts(), dataclasses.replace(drawn, seed=8)) != together
    assert any(texts[0] != texts[1] for texts in together if texts)


def test_a_row_of_nan_changes_no_other_row() -> None:
    model = tiny_model("llama")
    asked = prompts()
    poison = VOCAB - 1
    asked = [np.where(prompt == poison, 3, prompt).astype(np.int32) for prompt in asked]
    asked[4] = np.append(asked[4], np.int32(poison))
    with torch.no_grad():
        model.get_input_embeddings().weight[poison] = torch.nan
        model.get_output_embeddings().weight.copy_(torch.nan_to_num(model.get_output_embeddings().weight))
    expected = ReferenceGenerator(model, CODEC, vocab_size=VOCAB).generate(asked, asking())
    assert expected[4] is None
    assert sum(texts is None for texts in expected) < len(expected)
    for generator in (
        BatchedGenerator(model, CODEC, vocab_size=VOCAB, max_rows=3),
        PaddedGenerator(model, CODEC, vocab_size=VOCAB),
    ):
        assert generator.generate(asked, asking()) == expected


def test_running_out_of_memory_costs_rows_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    generator = BatchedGenerator(model, CODEC, vocab_size=VOCAB, max_rows=8)
    forward, calls = generator.forward, []

    def failing(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        if len(calls) == 9:
            raise MemoryError
        return forward(*arguments)

    monkeypatch.setattr(generator, "forward", failing)
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())
    assert generator.max_rows == 4


def test_a_token_id_beyond_the_vocabulary_is_refused() -> None:
    for name in ("auto", "padded", "reference"):
        generator = build_generator(name, tiny_model("llama"), CODEC, vocab_size=VOCAB)
        with pytest.raises(MilepostError, match=f"token id {VOCAB}"):
            generator.generate([np.array([3, VOCAB], dtype=np.int32)], asking())


def test_a_model_with_other_logits_in_batches_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    from milepost.engine.generate import attention

    model = tiny_model("llama")
    right = attention.attend_causally

    def scaled(call: AttentionCall) -> Partial:
        return right(call.with_tensors(call.query * 1.2, call.key, call.value))

    monkeypatch.setattr(attention, "attend_causally", scaled)
    generator = VerifiedGenerator(model, CODEC, vocab_size=VOCAB)
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())
    assert generator.name == "padded"
    assert generator.fallback is not None
    assert "off the plain forward pass" in generator.fallback


def test_a_last_layer_that_needs_all_tokens_of_a_prompt_gets_them() -> None:
    model = tiny_model("llama")
    expected = by_reference(model, asking())
    entered: list[int] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: entered.append(args[0].shape[1]))

    def only_all(_: Any, args: tuple[torch.Tensor]) -> None:
        if args[0].shape[1] != entered[-1]:
            raise ValueError("not all tokens")

    model.model.layers[-1].mlp.register_forward_pre_hook(only_all)
    generator = VerifiedGenerator(model, CODEC, vocab_size=VOCAB)
    assert generator.generate(prompts(), asking()) == expected
    assert generator.name == "batched"
    assert str(generator.fallback).startswith("prefill runs the whole last layer")


def test_continuous_batching_gives_the_texts_of_the_reference_and_leaves_the_model_as_it_was() -> None:
    model = tiny_model("llama")
    before = model.config._attn_implementation
    generator = build_generator("hf-continuous", model, CODEC, vocab_size=VOCAB)
    assert generator.generate(prompts(), asking()) == by_reference(model, asking())
    assert model.config._attn_implementation == before
    with pytest.raises(MilepostError, match="greedy only, and a task draws its texts"):
        generator.generate(prompts(), TASKS["drawn"])
