"""Scores do not depend on the rest of a batch, on padding, or on earlier sequences."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch

from milepost.engine import EngineName, build_engine
from milepost.engine.padded import PaddedEngine
from milepost.engine.trial import Trial, probes_of
from milepost.types.sequences import Scores, Sequences
from tests.engine.dependent import CONFIGS, SWITCH, dependent_model
from tests.engine.models import VOCAB, close, pack_up, tiny_model

CHANGING = ["phi3 longrope", "phimoe longrope", "llama longrope", "llama dynamic"]


def sequences_of(lengths: tuple[int, ...], seed: int = 0) -> Sequences:
    """Return inputs of these lengths, some with a common prefix; each scores its last three tokens."""
    random = np.random.default_rng(seed)
    beginning = [int(token) for token in random.integers(3, VOCAB, 200)]
    items = []
    for n in lengths:
        own = [int(token) for token in random.integers(3, VOCAB, 6)]
        tokens = (beginning[: n - 5] + own)[: n + 1]
        items.append((tokens, min(3, len(tokens) - 1)))
    return pack_up(items)


BOTH_SIDES = (10, SWITCH - 1, SWITCH, SWITCH + 1, 40, 60, 60, 12)


@functools.cache
def one_at_a_time(architecture: str, lengths: tuple[int, ...], seed: int = 0) -> Scores:
    """Score each sequence of `sequences_of` with a module without earlier calls."""
    sequences = sequences_of(lengths, seed)
    model = dependent_model(architecture)
    loglikelihood, greedy = [], []
    for i, n in enumerate(sequences.n_targets):
        tokens = torch.from_numpy(
            sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]].copy()
        ).long()
        with torch.no_grad():
            logits = copy.deepcopy(model)(tokens[None, :-1], use_cache=False).logits[0, -n:]
        logprobs = logits.log_softmax(-1).gather(1, tokens[-n:, None])
        loglikelihood.append(logprobs.double().sum().item())
        greedy.append(bool((logits.argmax(-1) == tokens[-n:]).all()))
    return Scores(loglikelihood=np.array(loglikelihood), greedy=np.array(greedy))


@pytest.mark.parametrize("architecture", CONFIGS)
def test_every_engine_scores_a_sequence_as_if_it_were_alone(architecture: str) -> None:
    sequences = sequences_of(BOTH_SIDES)
    expected = one_at_a_time(architecture, BOTH_SIDES)
    model = dependent_model(architecture)
    names: tuple[EngineName, ...] = ("reference", "auto", "padded", "reference")
    for name in names:
        engine = build_engine(name, model, vocab_size=VOCAB, trial=sequences)
        close(engine.score(sequences), expected)
        close(engine.score(sequences), expected)


@pytest.mark.parametrize("architecture", CHANGING)
def test_short_sequences_are_packed_and_long_ones_are_not(architecture: str) -> None:
    sequences = sequences_of(BOTH_SIDES)
    engine = build_engine("auto", dependent_model(architecture), vocab_size=VOCAB, trial=sequences)
    engine.score(sequences)
    assert engine.name == "packed+padded"
    assert f"more than {SWITCH} tokens" in str(engine.fallback)
    assert str(engine.fallback).count("\n") == 0
    short = sequences_of((10, 20, SWITCH))
    engine = build_engine("auto", dependent_model(architecture), vocab_size=VOCAB, trial=short)
    engine.score(short)
    assert (engine.name, engine.fallback) == ("packed", None)


@pytest.mark.parametrize("architecture", CHANGING)
@pytest.mark.parametrize("name", ["auto", "padded", "reference"])
def test_sequences_that_come_later_and_are_longer_are_scored_as_if_alone(
    architecture: str, name: EngineName
) -> None:
    engine = build_engine(name, dependent_model(architecture), vocab_size=VOCAB)
    for lengths in ((8, 20), BOTH_SIDES, (SWITCH,), (90, 20, 40), (SWITCH + 1,), (10, 31)):
        sequences = sequences_of(lengths, seed=sum(lengths))
        scores = engine.score(sequences)
        assert len(scores.loglikelihood) == len(lengths)
        close(scores, one_at_a_time(architecture, lengths, sum(lengths)))


@pytest.mark.parametrize("architecture", ["phi3 longrope", "llama dynamic"])
def test_a_series_of_checkpoints_in_one_module_is_scored_like_each_alone(architecture: str) -> None:
    model = dependent_model(architecture)
    engine = build_engine("auto", model, vocab_size=VOCAB)
    sequences = sequences_of(BOTH_SIDES)
    for seed in (0, 1, 2):
        other = dependent_model(architecture, seed)
        with torch.no_grad():
            for mine, new in zip(model.parameters(), other.parameters(), strict=True):
                mine.copy_(new)
        close(engine.score(sequences), build_engine("reference", other, vocab_size=VOCAB).score(sequences))


@torch.inference_mode()
@pytest.mark.parametrize("architecture", CHANGING)
def test_a_trial_of_long_sequences_only_still_finds_the_effect_of_mixed_batches(
    architecture: str,
) -> None:
    model = dependent_model(architecture)
    mixed = PaddedEngine(model, vocab_size=VOCAB, budget_tokens=130)
    trial = Trial(model, VOCAB, sequences_of((60, 60)))
    verdict = trial.verdict(lambda probes, _: mixed.score_together(probes))
    assert "off the plain forward pass" in str(verdict.reason)


def test_probes_lie_on_both_sides_of_every_boundary_and_in_pairs_where_lengths_must_be_equal() -> None:
    probes = probes_of(sequences_of((60, 50)), (16, 32, 1000))
    lengths = (np.diff(probes.starts) - 1).tolist()
    assert {16, 17, 32, 33, 50, 60} <= set(lengths)
    paired = probes_of(sequences_of((60, 50)), (16,), equal_lengths=True)
    assert all(count >= 2 for count in np.unique(np.diff(paired.starts), return_counts=True)[1])


def test_the_reference_takes_over_if_batches_of_one_length_are_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("bloom")
    sequences = sequences_of(BOTH_SIDES)
    expected = build_engine("reference", model, vocab_size=VOCAB).score(sequences)
    engine = PaddedEngine(model, vocab_size=VOCAB)
    right = engine.model.hidden
    monkeypatch.setattr(
        engine.model, "hidden", lambda tokens: right(tokens) * (1.0 if len(tokens) == 1 else 1.5)
    )
    close(engine.score(sequences), expected)
    assert engine.name == "reference"
    assert str(engine.fallback).startswith("the padded engine is not used: its scores are ")
