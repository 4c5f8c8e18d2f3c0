"""Log-probabilities of single tokens: of targets that are scored, and of tokens that are generated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from milepost.engine import EngineName, build_engine, build_generator
from milepost.engine.generate.batched import BatchedGenerator
from milepost.engine.generate.stopping import Stops
from milepost.types.generation import Generation
from milepost.types.token_answers import Alternatives, TokenAnswer
from tests.engine.models import VOCAB, pack_up, random_requests, tiny_model
from tests.engine.texts import Characters, asking, prompts

CODEC = Characters()


def tokens(**more: Any) -> Generation:
    settings: dict[str, Any] = {"max_new_tokens": 6, "stop_tokens": (1,), **more}
    return Generation(until=(), returns="tokens", **settings)


def plain(module: torch.nn.Module, ids: list[int]) -> np.ndarray:
    """Return the log-probability of each token but the first by a plain forward pass."""
    with torch.inference_mode():
        logprobs = module(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return logprobs[range(len(ids) - 1), ids[1:]].numpy()


@pytest.mark.parametrize("name", ["packed", "padded", "reference"])
def test_every_target_has_its_own_log_probability_in_the_order_of_the_tokens(name: EngineName) -> None:
    module = tiny_model("llama")
    shared = prompts()
    sequences = pack_up([(prompt.tolist(), len(prompt) - 1) for prompt in shared])
    scores = build_engine(name, module, vocab_size=VOCAB).score(sequences)
    expected = np.concatenate([plain(module, prompt.tolist()) for prompt in shared])
    assert scores.target_logprobs is not None
    np.testing.assert_allclose(scores.target_logprobs, expected, atol=1e-4)


def test_they_add_up_to_the_scores_whatever_the_budget() -> None:
    sequences = random_requests()
    ends = np.cumsum(sequences.n_targets)[:-1]
    for budget in (None, 64):
        engine = build_engine("packed", tiny_model("gpt2"), vocab_size=VOCAB, budget_tokens=budget)
        scores = engine.score(sequences)
        assert scores.target_logprobs is not None
        sums = [part.sum(dtype=np.float64) for part in np.split(scores.target_logprobs, ends)]
        np.testing.assert_allclose(sums, scores.loglikelihood, atol=1e-6)


@pytest.mark.parametrize("name", ["auto", "padded", "reference"])
def test_generated_tokens_come_with_the_log_probabilities_that_they_are_drawn_with(name: EngineName) -> None:
    module = tiny_model("llama")
    asked = tokens(do_sample=True, temperature=0.7, options=(("top_k", 12),), n_answers=2, seed=3)
    answers = build_generator(name, module, CODEC, vocab_size=VOCAB).generate(prompts(), asked)
    for prompt, texts in zip(prompts(), answers, strict=True):
        assert texts is not None
        assert len(texts) == 2
        answer = TokenAnswer.from_text(texts[1])
        ids = [*prompt.tolist(), *answer.tokens.tolist()]
        with torch.inference_mode():
            logits = module(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].float() / 0.7
        kept = logits.topk(12, -1).values[:, -1:]
        expected = logits.masked_fill(logits < kept, -torch.inf).log_softmax(-1)
        np.testing.assert_allclose(
            answer.logprobs, expected[range(len(answer.tokens)), answer.tokens.tolist()], atol=1e-4
        )


@pytest.mark.parametrize("name", ["auto", "padded", "reference"])
def test_the_likeliest_tokens_at_each_place_come_with_the_models_own_log_probabilities(
    name: EngineName,
) -> None:
    module = tiny_model("llama")
    asked = tokens(temperature=1e-7, n_alternatives=4)
    answers = build_generator(name, module, CODEC, vocab_size=VOCAB).generate(prompts(), asked)
    for prompt, texts in zip(prompts(), answers, strict=True):
        assert texts is not None
        answer = TokenAnswer.from_text(texts[0])
        assert answer.alternatives is not None
        ids = [*prompt.tolist(), *answer.tokens.tolist()]
        with torch.inference_mode():
            logprobs = module(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        expected = logprobs.topk(4, -1)
        np.testing.assert_allclose(answer.alternatives.logprobs, expected.values, atol=1e-4)
        assert answer.alternatives.tokens.tolist() == expected.indices.tolist()
        assert answer.alternatives.tokens[:, 0].tolist() == answer.tokens.tolist()


@pytest.mark.parametrize("name", ["auto", "padded", "reference"])
def test_a_penalty_counts_in_the_log_probability_of_the_token_that_it_leaves(name: EngineName) -> None:
    module = tiny_model("llama")
    asked = tokens(options=(("repetition_penalty", 5.0),))
    answers = build_generator(name, module, CODEC, vocab_size=VOCAB).generate(prompts(), asked)
    n_other = 0
    for prompt, texts in zip(prompts(), answers, strict=True):
        assert texts is not None
        answer = TokenAnswer.from_text(texts[0])
        ids = [*prompt.tolist(), *answer.tokens.tolist()]
        with torch.inference_mode():
            logits = module(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].float()
        n_other += int((logits.argmax(-1).numpy() != answer.tokens).sum())
        penalised = [
            RepetitionPenaltyLogitsProcessor(5.0)(torch.tensor([ids[: len(prompt) + i]]), logits[i : i + 1])
            for i in range(len(logits))
        ]
        expected = torch.cat(penalised).log_softmax(-1)[range(len(logits)), answer.tokens.tolist()]
        np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)
    assert n_other > 0


def test_greedy_tokens_are_those_of_the_text_and_end_where_a_sequence_of_tokens_does() -> None:
    module = tiny_model("llama")
    generator = BatchedGenerator(module, CODEC, vocab_size=VOCAB)
    texts = generator.generate(prompts(), asking(until=(), max_new_tokens=6))
    answers = [
        TokenAnswer.from_text(answer[0])
        for answer in generator.generate(prompts(), tokens())
        if answer is not None
    ]
    assert [[CODEC.decode(one.tokens.tolist(), skip_special_tokens=True)] for one in answers] == texts
    ending = tuple(answers[0].tokens[1:3].tolist())
    (cut,) = generator.generate(prompts()[:1], tokens(stop_sequences=(ending,))) or [None]
    assert cut is not None
    assert TokenAnswer.from_text(cut[0]).tokens.tolist() == answers[0].tokens[:3].tolist()


def test_a_stop_sequence_counts_only_where_all_of_it_stands_at_the_end() -> None:
    stops = Stops(CODEC, tokens(stop_sequences=((5, 6),), max_new_tokens=10))
    assert stops.is_finished([5, 6])
    assert not stops.is_finished([5, 6, 7])
    assert not stops.is_finished([6])


def test_an_answer_is_read_back_as_it_was_written_and_damage_is_told() -> None:
    answer = TokenAnswer(np.array([7, 4095], np.int32), np.array([-0.0, -12.25], np.float32))
    again = TokenAnswer.from_text(answer.to_text())
    assert again.tokens.tolist() == [7, 4095]
    assert again.logprobs.tolist() == [0.0, -12.25]
    others = Alternatives(
        np.array([[7, 3], [4095, 0]], np.int32), np.array([[-0.5, -1], [0, -2]], np.float32)
    )
    both = TokenAnswer.from_text(TokenAnswer(answer.tokens, answer.logprobs, others).to_text())
    assert both.alternatives is not None
    assert both.alternatives.tokens.tolist() == others.tokens.tolist()
    assert both.alternatives.logprobs.tolist() == others.logprobs.tolist()
    with pytest.raises(ValueError, match=r"values to unpack|padding|base64"):
        TokenAnswer.from_text("no answer")
