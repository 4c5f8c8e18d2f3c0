"""The simple engines against an independent computation, and against each other on many architectures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from milepost.engine import EngineName, build_engine
from milepost.engine.padded import PaddedEngine
from milepost.engine.reference import ReferenceEngine
from milepost.errors import MilepostError
from milepost.types.sequences import Sequences
from tests.engine.models import CONFIGS, VOCAB, close, pack_up, random_requests, tiny_model


def test_reference_equals_a_loss_computed_by_transformers() -> None:
    model = tiny_model("llama")
    tokens, n = [7, 8, 9, 10, 11, 12], 2
    ids = torch.tensor([tokens])
    labels = torch.tensor([[-100] * (len(tokens) - n) + tokens[-n:]])
    expected = -model(ids, labels=labels).loss.item() * n
    scores = ReferenceEngine(model, vocab_size=VOCAB).score(pack_up([(tokens, n)]))
    assert scores.loglikelihood[0] == pytest.approx(expected, abs=1e-5)


def test_greedy_is_true_exactly_when_every_target_is_the_first_choice() -> None:
    model = tiny_model("gpt2")
    prompt = [5, 6, 7]
    for _ in range(3):
        prompt.append(int(model(torch.tensor([prompt])).logits[0, -1].argmax()))
    wrong = [*prompt[:-1], (prompt[-1] + 1) % VOCAB]
    wrong_in_the_middle = [*prompt[:-2], (prompt[-2] + 1) % VOCAB, prompt[-1]]
    sequences = pack_up([(prompt, 3), (wrong, 3), (wrong_in_the_middle, 2), (prompt, 1)])
    for engine in (ReferenceEngine(model, vocab_size=VOCAB), PaddedEngine(model, vocab_size=VOCAB)):
        assert engine.score(sequences).greedy.tolist() == [True, False, False, True]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_padded_equals_reference(architecture: str) -> None:
    model = tiny_model(architecture)
    sequences = random_requests()
    padded = PaddedEngine(model, vocab_size=VOCAB, budget_tokens=300)
    close(padded.score(sequences), ReferenceEngine(model, vocab_size=VOCAB).score(sequences))
    assert padded.model.is_split


@pytest.mark.parametrize("name", ["packed", "padded", "reference"])
def test_a_stream_scores_each_shard_as_it_is_scored_alone_and_takes_none_early(name: EngineName) -> None:
    engine = build_engine(name, tiny_model("llama"), vocab_size=VOCAB)
    shards = [random_requests(seed) for seed in range(3)]
    taken: list[int] = []

    def one_by_one() -> Iterator[Sequences]:
        for number, shard in enumerate(shards):
            taken.append(number)
            yield shard

    for number, scores in enumerate(engine.score_stream(one_by_one())):
        close(scores, engine.score(shards[number]))
        assert engine.joins_shards or taken[-1] == number
    assert taken == [0, 1, 2]


def test_a_model_that_cannot_be_taken_apart_is_run_whole() -> None:
    class Odd(torch.nn.Module):
        """A causal LM without a separate body."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_model("llama")

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            return self.inner(input_ids, use_cache=use_cache)

    odd = Odd()
    engine = PaddedEngine(odd, vocab_size=VOCAB)
    sequences = random_requests(seed=1)
    assert not engine.model.is_split
    close(engine.score(sequences), ReferenceEngine(odd.inner, vocab_size=VOCAB).score(sequences))


def test_equal_inputs_are_computed_once() -> None:
    model = tiny_model("llama")
    seen: list[tuple[int, ...]] = []
    engine = PaddedEngine(model, vocab_size=VOCAB)
    engine.score(pack_up([([9, 8, 7, 6, 5], 1)]))  # tried
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    context = [4, 5, 6, 7]
    scores = engine.score(
        pack_up([([*context, 8], 1), ([*context, 9], 1), ([*context, 9], 2), ([*context, 8], 1)])
    )
    assert seen == [(1, 4)]
    assert scores.loglikelihood[0] == scores.loglikelihood[3]


@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_the_budget_does_not_change_scores(budget: int) -> None:
    model = tiny_model("qwen2")
    sequences = random_requests(seed=2)
    expected = PaddedEngine(model, vocab_size=VOCAB, budget_tokens=500).score(sequences)
    batches: list[tuple[int, int]] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: batches.append(tuple(args[0].shape)))
    # Its trial keeps to the budget as well.
    close(PaddedEngine(model, vocab_size=VOCAB, budget_tokens=budget).score(sequences), expected, 1e-5)
    assert batches
    assert all(n_rows == 1 or n_rows * length <= budget for n_rows, length in batches)


def test_scores_keep_the_order_of_the_sequences() -> None:
    model = tiny_model("llama")
    engine = PaddedEngine(model, vocab_size=VOCAB)
    items = [([3, 4, 5], 1), ([9, 8, 7, 6, 5], 2), ([3, 4], 1)]
    forwards, backwards = engine.score(pack_up(items)), engine.score(pack_up(items[::-1]))
    np.testing.assert_allclose(forwards.loglikelihood, backwards.loglikelihood[::-1], atol=1e-5)


@pytest.mark.parametrize("name", ["reference", "padded", "auto"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_logits_give_nan_for_their_sequences_only(name: EngineName, bad: float) -> None:
    model = tiny_model("llama")
    engine = build_engine(name, model, vocab_size=VOCAB)
    with torch.no_grad():
        model.model.embed_tokens.weight[50] = bad
    scores = engine.score(pack_up([([5, 6, 7], 1), ([5, 50, 7], 1), ([5, 6, 50], 1)]))
    assert np.isnan(scores.loglikelihood).tolist() == [False, True, False]
    assert not scores.greedy[1]


@pytest.mark.parametrize("name", ["reference", "padded", "auto"])
@pytest.mark.parametrize("token", [VOCAB, -1])
def test_a_token_id_beyond_the_vocabulary_is_named_in_the_error(name: EngineName, token: int) -> None:
    engine = build_engine(name, tiny_model("llama"), vocab_size=VOCAB)
    with pytest.raises(MilepostError, match=f"token id {token} but the model has {VOCAB}") as caught:
        engine.score(pack_up([([5, token, 7], 1)]))
    assert caught.value.hint is not None
    assert "tokenizer" in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
    ],
)
def test_out_of_memory_halves_the_batch_and_changes_no_score(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    sequences = random_requests(seed=3)
    engine = PaddedEngine(model, vocab_size=VOCAB, budget_tokens=1000)
    expected = engine.score(sequences)
    hidden, widths = engine.model.hidden, []

    def scarce(tokens: torch.Tensor) -> torch.Tensor:
        widths.append(tokens.numel())
        if tokens.numel() > 200:
            raise error
        return hidden(tokens)

    monkeypatch.setattr(engine.model, "hidden", scarce)
    close(engine.score(sequences), expected, 1e-5)
    assert max(widths) > 200
    assert engine.budget_tokens <= 250


def test_other_errors_are_not_mistaken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PaddedEngine(tiny_model("llama"), vocab_size=VOCAB)
    engine.score(random_requests())  # tried

    def broken(tokens: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(engine.model, "hidden", broken)
    with pytest.raises(RuntimeError, match="multiplied"):
        engine.score(random_requests())


def test_weights_replaced_in_place_are_scored() -> None:
    model, other = tiny_model("llama", seed=0), tiny_model("llama", seed=1)
    engine = PaddedEngine(model, vocab_size=VOCAB)
    sequences = random_requests()
    before = engine.score(sequences)
    with torch.no_grad():
        for mine, new in zip(model.parameters(), other.parameters(), strict=True):
            mine.copy_(new)
    after = engine.score(sequences)
    close(after, ReferenceEngine(other, vocab_size=VOCAB).score(sequences))
    assert np.abs(after.loglikelihood - before.loglikelihood).max() > 0.1


def test_no_sequences_give_no_scores() -> None:
    engine = PaddedEngine(tiny_model("llama"), vocab_size=VOCAB)
    assert len(engine.score(pack_up([])).loglikelihood) == 0
