"""The tiny model's training run, as another program would find it on disk."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from milepost.demo.training import Progress, Recipe, kept_steps, learning_rate, train

QUICK = Recipe(
    hidden_size=32,
    intermediate_size=64,
    layers=1,
    heads=2,
    vocab_size=300,
    steps=60,
    warmup_steps=5,
    first_kept_step=5,
    kept_checkpoints=3,
    sequence_length=16,
)
DOCUMENTS = ["the cat sat on the mat", "the dog ran after the cat"]


def _train(folder: Path) -> tuple[list[Path], list[Progress]]:
    seen: list[Progress] = []
    return train(lambda: DOCUMENTS, folder, QUICK, seen.append), seen


def test_a_run_keeps_checkpoints_that_transformers_loads(tmp_path: Path) -> None:
    kept, _ = _train(tmp_path)
    assert [folder.name for folder in kept] == ["checkpoint-5", "checkpoint-17", "checkpoint-60"]
    model = AutoModelForCausalLM.from_pretrained(kept[-1])
    tokenizer = AutoTokenizer.from_pretrained(kept[-1])
    assert (kept[-1] / "model.safetensors").is_file()
    ids = tokenizer("the cat", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == tokenizer.bos_token_id == model.config.bos_token_id
    assert model(ids).logits.shape[-1] == len(tokenizer)


def test_the_model_learns_what_it_reads(tmp_path: Path) -> None:
    _, seen = _train(tmp_path)
    assert [progress.step for progress in seen] == list(range(1, 61))
    assert seen[-1].loss < seen[0].loss / 2


def test_the_same_recipe_gives_the_same_weights_and_leaves_the_random_state_alone(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    first, _ = _train(tmp_path / "first")
    second, _ = _train(tmp_path / "second")
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [AutoModelForCausalLM.from_pretrained(kept[-1]).state_dict() for kept in (first, second)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name])


def test_steps_that_are_kept_are_log_spaced_and_end_with_the_last() -> None:
    steps = kept_steps(Recipe())
    assert len(steps) == Recipe().kept_checkpoints
    assert steps[-1] == Recipe().steps
    ratios = [math.log(later / earlier) for earlier, later in itertools.pairwise(steps)]
    assert max(ratios) == pytest.approx(min(ratios), rel=0.15)


@given(step=st.integers(1, Recipe().steps))
def test_the_learning_rate_stays_between_nothing_and_its_peak(step: int) -> None:
    recipe = Recipe()
    assert 0 < learning_rate(step, recipe) <= recipe.learning_rate
    assert learning_rate(recipe.warmup_steps, recipe) == recipe.learning_rate
