"""A request on which a model raises gets a reason instead of a score, and the others get their scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from milepost.engine import EngineName, build_engine, build_generator
from milepost.errors import MilepostError
from milepost.types.sequences import Scores, Sequences
from tests.engine.models import VOCAB, close, pack_up, random_requests, tiny_model
from tests.engine.texts import Characters, asking, prompts

POISON = VOCAB - 1
CODEC = Characters()
NAMES: list[EngineName] = ["auto", "padded", "reference"]


def delicate(model: Any, error: Exception | None = None) -> Any:
    """Make the model raise if it gets one token id."""

    def check(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if (inputs[0] == POISON).any():
            raise error or RuntimeError("index 97 is out of bounds\nfor dimension 0")

    model.get_input_embeddings().register_forward_pre_hook(check)
    return model


def requests(seed: int = 0) -> tuple[Sequences, list[int]]:
    """Return requests, and the numbers of those in which the model sees the token."""
    sequences = random_requests(seed)
    tokens = np.where(sequences.tokens == POISON, 5, sequences.tokens).astype(np.int32)
    bad = [2, 9]
    for i in bad:
        tokens[sequences.starts[i] + 1] = POISON
    return Sequences(tokens=tokens, starts=sequences.starts, n_targets=sequences.n_targets), bad


def healthy(sequences: Sequences) -> Scores:
    return build_engine("reference", tiny_model("llama"), vocab_size=VOCAB).score(sequences)


def check(scores: Scores, expected: Scores, bad: list[int]) -> None:
    good = np.setdiff1d(np.arange(len(expected.greedy)), bad)
    np.testing.assert_allclose(scores.loglikelihood[good], expected.loglikelihood[good], atol=1e-4)
    assert np.isnan(scores.loglikelihood[bad]).all()
    assert not scores.greedy[bad].any()
    assert sorted(scores.failed) == bad
    assert set(scores.failed.values()) == {"RuntimeError: index 97 is out of bounds for dimension 0"}


@pytest.mark.parametrize("name", NAMES)
def test_only_the_request_on_which_the_model_raises_has_no_score(name: EngineName) -> None:
    sequences, bad = requests()
    engine = build_engine(name, delicate(tiny_model("llama")), vocab_size=VOCAB)
    check(engine.score(sequences), healthy(sequences), bad)
    sound = random_requests(5)
    sound = Sequences(
        tokens=np.where(sound.tokens == POISON, 5, sound.tokens).astype(np.int32),
        starts=sound.starts, n_targets=sound.n_targets,
    )  # fmt: skip
    close(engine.score(sound), healthy(sound))
    assert engine.name == ("packed" if name == "auto" else name), engine.fallback


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_yields_every_shard_in_order(name: EngineName) -> None:
    shards = [requests(seed) for seed in range(4)]
    engine = build_engine(name, delicate(tiny_model("llama")), vocab_size=VOCAB)
    found = list(engine.score_stream(iter([sequences for sequences, _ in shards])))
    assert len(found) == len(shards)
    for scores, (sequences, bad) in zip(found, shards, strict=True):
        check(scores, healthy(sequences), bad)


def test_a_joined_stream_that_raises_goes_on_with_the_shards_it_held() -> None:
    class Joined:
        """Takes two shards before it yields the first scores, as an engine that joins shards may."""

        name, fallback, joins_shards = "joined", None, True

        def __init__(self, own: Any) -> None:
            self.own = own

        def score(self, sequences: Sequences) -> Scores:
            return self.own.score(sequences)

        def score_stream(self, shards: Iterator[Sequences]) -> Iterator[Scores]:
            held: list[Sequences] = []
            for shard in shards:
                held.append(shard)
                if len(held) == 2:
                    if len(shard) == 3:
                        raise RuntimeError("broke")
                    yield self.own.score(held.pop(0))
            yield from map(self.own.score, held)

    from milepost.engine.failure_isolation import FailureIsolatingEngine

    reference = build_engine("reference", tiny_model("llama"), vocab_size=VOCAB)
    shards = [pack_up([([4, 5, 6 + i], 1)] * n) for i, n in enumerate((1, 2, 3, 4, 5))]
    joined: Any = Joined(reference)
    engine = FailureIsolatingEngine(joined, reference)
    found = list(engine.score_stream(iter(shards)))
    assert [len(scores.greedy) for scores in found] == [1, 2, 3, 4, 5]
    for scores, shard in zip(found, shards, strict=True):
        close(scores, reference.score(shard))


def test_errors_of_the_user_are_raised() -> None:
    engine = build_engine("auto", tiny_model("llama"), vocab_size=VOCAB)
    with pytest.raises(MilepostError, match=f"token id {VOCAB}"):
        list(engine.score_stream([pack_up([([4, VOCAB, 5], 1)])]))


def test_an_interrupt_goes_through() -> None:
    model = tiny_model("llama")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model.get_input_embeddings().register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_engine("reference", model, vocab_size=VOCAB).score(random_requests())


@pytest.mark.parametrize("name", NAMES)
def test_only_the_prompt_on_which_the_model_raises_has_no_text(name: EngineName) -> None:
    asked = [np.where(prompt == POISON, 5, prompt).astype(np.int32) for prompt in prompts()]
    whole = asking(until=("A", "xy"), max_new_tokens=3)
    expected = build_generator("reference", tiny_model("llama"), CODEC, vocab_size=VOCAB).generate(
        asked, whole
    )
    asked[4][-1] = POISON
    generator = build_generator(name, delicate(tiny_model("llama")), CODEC, vocab_size=VOCAB)
    found = generator.generate(asked, whole)
    assert found[4] is None
    assert dict(generator.failed) == {4: "RuntimeError: index 97 is out of bounds for dimension 0"}
    assert found[:4] + found[5:] == expected[:4] + expected[5:]
    asked[4][-1] = 5
    again = generator.generate(asked, whole)
    assert again[:4] + again[5:] == expected[:4] + expected[5:]
    assert not generator.failed


def test_a_sequence_that_does_not_fit_into_memory_costs_no_other() -> None:
    sequences, bad = requests()
    model = delicate(tiny_model("llama"), torch.cuda.OutOfMemoryError("CUDA out of memory"))
    scores = build_engine("auto", model, vocab_size=VOCAB).score(sequences)
    assert sorted(scores.failed) == bad
    assert all(why.startswith("out of memory") for why in scores.failed.values())


def test_a_model_that_always_raises_gives_a_reason_for_each_request() -> None:
    model = tiny_model("llama")

    def broken(*_: object, **__: object) -> None:
        raise ValueError("matC_old has wrong shape")

    model.forward = broken
    for name in NAMES:
        scores = build_engine(name, model, vocab_size=VOCAB).score(pack_up([([4, 5, 6], 1), ([7, 8, 9], 2)]))
        assert dict(scores.failed) == dict.fromkeys((0, 1), "ValueError: matC_old has wrong shape")
        generator = build_generator(name, model, CODEC, vocab_size=VOCAB)
        assert generator.generate([np.array([4, 5], np.int32)], asking(max_new_tokens=2)) == [None]
        assert dict(generator.failed) == {0: "ValueError: matC_old has wrong shape"}


def test_a_model_whose_cache_raises_is_continued_without_one() -> None:
    """The cache of xLSTM raises in transformers 5.23 for every shape."""
    config = transformers.xLSTMConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_heads=2)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    asked, wanted = prompts(n=4), asking(until=(), max_new_tokens=3)
    expected = build_generator("reference", model, CODEC, vocab_size=VOCAB).generate(asked, wanted)
    for name in ("auto", "padded"):
        generator = build_generator(name, model, CODEC, vocab_size=VOCAB)
        assert generator.generate(asked, wanted) == expected
        assert not generator.failed


def test_a_request_that_does_not_fit_even_alone_names_the_page_that_says_what_to_do() -> None:
    sequences, bad = requests()
    model = delicate(tiny_model("llama"), torch.cuda.OutOfMemoryError("CUDA out of memory."))
    scores = build_engine("padded", model, vocab_size=VOCAB).score(sequences)
    assert sorted(scores.failed) == bad
    (reason,) = set(scores.failed.values())
    assert reason.startswith("out of memory, although the request was alone in its forward pass; see ")
    page = Path(__file__).resolve().parents[2] / reason.rpartition(" ")[2]
    assert page.read_text("utf-8").startswith("# Out of memory")
