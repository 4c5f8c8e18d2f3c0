"""Texts do not depend on the rest of a batch, on padding, or on earlier prompts."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from milepost.engine import EngineName, build_generator
from milepost.engine.generate.padded import PaddedGenerator
from milepost.engine.generate.selection import VerifiedGenerator
from milepost.engine.generate.trial import GenerationTrial, probes_of
from milepost.types.generation import Generation
from tests.engine.dependent import CONFIGS, SWITCH, dependent_model
from tests.engine.models import VOCAB, tiny_model
from tests.engine.texts import CHARACTERS, SPECIAL, Characters, asking

pytestmark = pytest.mark.slow

CODEC = Characters()
N_TOKENS = 8
ASKED = asking(until=(), max_new_tokens=N_TOKENS)
CHANGING = ["phi3 longrope", "phimoe longrope", "llama longrope", "llama dynamic"]
BOTH_SIDES = (10, SWITCH - N_TOKENS, SWITCH - 4, SWITCH - 1, SWITCH + 1, 40, 60, 60, 12, 10)
IN_ORDER: tuple[EngineName, ...] = ("reference", "auto", "padded", "auto", "reference")


def prompts_of(lengths: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    beginning = random.integers(3, VOCAB, 200).astype(np.int32)
    return [np.append(beginning[: n - 2], random.integers(3, VOCAB, 2)).astype(np.int32) for n in lengths]


def one_at_a_time(architecture: str, prompts: list[np.ndarray], seed: int = 0) -> list[list[str]]:
    """Return the texts of `lm_eval --model hf --batch_size 1`, each by a model without earlier calls."""
    model = dependent_model(architecture, seed)
    texts = []
    for prompt in prompts:
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        fresh: Any = copy.deepcopy(model)
        out = fresh.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=N_TOKENS, do_sample=False,
            eos_token_id=1, pad_token_id=0, use_cache=True,
        )  # fmt: skip
        tokens = out[0, len(prompt) :].tolist()
        texts.append(["".join(CHARACTERS[token] for token in tokens if token not in SPECIAL)])
    return texts


@pytest.mark.parametrize("architecture", CONFIGS)
def test_every_generator_writes_a_text_as_if_it_were_alone(architecture: str) -> None:
    asked = prompts_of(BOTH_SIDES)
    expected = one_at_a_time(architecture, asked)
    assert len({text for (text,) in expected}) > 3
    model = dependent_model(architecture)
    for name in IN_ORDER:
        generator = build_generator(name, model, CODEC, vocab_size=VOCAB)
        assert generator.generate(asked, ASKED) == expected, (name, generator.name, generator.fallback)
        assert generator.generate(asked[::-1], ASKED) == expected[::-1]
        assert "\n" not in str(generator.fallback)


@pytest.mark.parametrize("architecture", ["phi3 longrope", "llama dynamic", "granitemoe"])
def test_continuous_batching_is_tried_as_well(architecture: str) -> None:
    asked = prompts_of(BOTH_SIDES)
    generator = build_generator("hf-continuous", dependent_model(architecture), CODEC, vocab_size=VOCAB)
    assert generator.generate(asked, ASKED) == one_at_a_time(architecture, asked)


@pytest.mark.parametrize("architecture", CHANGING)
def test_short_texts_are_batched_and_long_ones_are_not(architecture: str) -> None:
    generator = build_generator("auto", dependent_model(architecture), CODEC, vocab_size=VOCAB)
    generator.generate(prompts_of((10, 20, SWITCH - N_TOKENS)), ASKED)
    assert (generator.name, generator.fallback) == ("batched", None)
    generator.generate(prompts_of(BOTH_SIDES), ASKED)
    assert generator.name.startswith("batched+")
    assert f"can pass {SWITCH} tokens" in str(generator.fallback)


@pytest.mark.parametrize("architecture", ["phi3 longrope", "llama dynamic", "minimax", "rwkv"])
@pytest.mark.parametrize("name", ["auto", "padded"])
def test_longer_prompts_that_come_later_are_continued_as_if_alone(
    architecture: str, name: EngineName
) -> None:
    generator = build_generator(name, dependent_model(architecture), CODEC, vocab_size=VOCAB)
    for lengths in ((8, 20), (SWITCH, 9), (90, 20, 40), (31, 10)):
        asked = prompts_of(lengths, seed=sum(lengths))
        assert generator.generate(asked, ASKED) == one_at_a_time(architecture, asked)


@pytest.mark.parametrize("architecture", ["phi3 longrope", "minimax"])
def test_a_series_of_checkpoints_in_one_module_gets_the_texts_of_each_alone(architecture: str) -> None:
    model = dependent_model(architecture)
    generator = build_generator("auto", model, CODEC, vocab_size=VOCAB)
    asked = prompts_of(BOTH_SIDES)
    for seed in (0, 1, 2):
        other = dependent_model(architecture, seed)
        with torch.no_grad():
            for mine, new in zip(model.parameters(), other.parameters(), strict=True):
                mine.copy_(new)
        assert generator.generate(asked, ASKED) == one_at_a_time(architecture, asked, seed)


@pytest.mark.parametrize("architecture", ["phi3 longrope", "llama longrope", "minimax", "rwkv"])
def test_a_trial_of_long_prompts_only_still_finds_the_effect_of_padding(architecture: str) -> None:
    model = dependent_model(architecture)
    trial = GenerationTrial(model, CODEC, VOCAB, prompts_of((60, 50)), ASKED)
    verdict = trial.verdict(PaddedGenerator(model, CODEC, vocab_size=VOCAB))
    assert verdict.reason is not None
    assert "off the plain forward pass" in verdict.reason


def test_probes_cross_every_boundary_that_a_text_can_reach() -> None:
    probes = probes_of(prompts_of((20, 9)), 30, (32, 40, 1000))
    assert sorted(map(len, probes)) == [9, 20, 31, 33, 39, 41]
    paired = probes_of(prompts_of((20, 9)), 30, (32,), equal_lengths=True)
    assert all(n >= 2 for n in np.unique(list(map(len, paired)), return_counts=True)[1])


def test_a_model_that_only_the_reference_can_run_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_model("bloom")
    asked = prompts_of((10, 20))
    expected = build_generator("reference", model, CODEC, vocab_size=VOCAB).generate(asked, ASKED)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no cache of this kind")

    monkeypatch.setattr(model, "generate", broken)
    generator = VerifiedGenerator(model, CODEC, vocab_size=VOCAB)
    assert generator.generate(asked, ASKED) == expected
    assert generator.name == "reference"
    assert str(generator.fallback).endswith(
        "the padded generator is not used: RuntimeError: no cache of this kind"
    )


def test_the_longest_possible_text_counts_towards_the_length() -> None:
    tried = []
    generator = VerifiedGenerator(tiny_model("llama"), CODEC, vocab_size=VOCAB)
    right = GenerationTrial.verdict

    def counted(trial: GenerationTrial, one: Any) -> Any:
        tried.append(trial)
        return right(trial, one)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GenerationTrial, "verdict", counted)
        for n, expected in ((4, 1), (4, 1), (12, 2), (6, 2)):
            generator.generate(prompts_of((10, 12)), Generation(until=(), max_new_tokens=n))
            assert len(tried) == expected
