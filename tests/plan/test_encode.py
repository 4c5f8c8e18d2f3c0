"""Token ids are those that lm_eval's own model class would run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from milepost.errors import TokenizerError
from milepost.plan.encode import EncodedTask, encode
from milepost.plan.string_encoder import StringEncoder
from milepost.types.requests import Request

MAX_LENGTH = 16
TEXT = st.text(alphabet="abcde '.\n\t é日", max_size=40)


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture(scope="module")
def harness(tiny_llama: Path) -> Any:
    """lm_eval's Hugging Face model, with its scoring replaced by a recorder of what it would run."""
    from lm_eval.models.huggingface import HFLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    module = LlamaForCausalLM(
        LlamaConfig(vocab_size=400, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    )
    model = HFLM(pretrained=module, tokenizer=tokenizer, max_length=MAX_LENGTH, batch_size=1)

    def record(requests: list[Any], **_: Any) -> list[Any]:
        model.recorded.extend((ctx + cont, len(cont)) for _, ctx, cont in requests)
        return [(0.0, False)] * len(requests)

    model.recorded = []
    model._loglikelihood_tokens = record
    return model


def as_pairs(encoded: EncodedTask) -> list[tuple[list[int], int]]:
    sequences = encoded.sequences
    return [
        (
            sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]].tolist(),
            int(sequences.n_targets[i]),
        )
        for i in range(len(sequences))
    ]


def pair_request(context: str, continuation: str) -> Request:
    return Request("loglikelihood", 0, 0, context, continuation)


@settings(max_examples=150)
@given(context=TEXT, continuation=TEXT.filter(bool), special=st.sampled_from(["", "", "<s>"]))
def test_pairs_are_encoded_as_lm_eval_encodes_them(
    tokenizer: Any, harness: Any, context: str, continuation: str, special: str
) -> None:
    context = special + context
    harness.recorded.clear()
    try:
        harness.loglikelihood([SimpleNamespace(args=(context, continuation))], disable_tqdm=True)
    except (AssertionError, IndexError):
        return  # lm_eval itself cannot ask this
    ids, n_targets = harness.recorded[0]
    if n_targets == 0 or n_targets > MAX_LENGTH or len(ids) == n_targets:
        return  # nor score it
    found = as_pairs(encode("t", [pair_request(context, continuation)], StringEncoder(tokenizer), MAX_LENGTH))
    assert found == [(ids[-(MAX_LENGTH + 1) :], n_targets)]


@settings(max_examples=100)
@given(text=st.text(alphabet="abcdefgh .\n", max_size=120))
def test_rolling_windows_are_those_of_lm_eval(tokenizer: Any, harness: Any, text: str) -> None:
    harness.recorded.clear()
    harness.loglikelihood_rolling([SimpleNamespace(args=(text,))], disable_tqdm=True)
    found = as_pairs(
        encode("t", [Request("loglikelihood_rolling", 0, 0, "", text)], StringEncoder(tokenizer), MAX_LENGTH)
    )
    assert found == [(ids[-(MAX_LENGTH + 1) :], n) for ids, n in harness.recorded]


def test_every_token_of_a_long_text_is_predicted_once(tokenizer: Any) -> None:
    text = "the cat sat on the mat and " * 20
    encoded = encode(
        "t", [Request("loglikelihood_rolling", 0, 0, "", text)], StringEncoder(tokenizer), MAX_LENGTH
    )
    predicted = [token for ids, n in as_pairs(encoded) for token in ids[-n:]]
    assert predicted == tokenizer.encode(text)
    assert encoded.request_of.tolist() == [0] * len(encoded.sequences)


def test_requests_longer_than_the_context_are_cut_from_the_left_and_counted(tokenizer: Any) -> None:
    requests = [pair_request("the cat sat on the mat " * 10, "cat"), pair_request("the", " cat")]
    encoded = encode("t", requests, StringEncoder(tokenizer), MAX_LENGTH)
    assert encoded.n_truncated == 1
    assert np.diff(encoded.sequences.starts)[0] == MAX_LENGTH + 1


class Joins:
    """A token for each word, so that "the cat" and "the cats" have two each."""

    bos_token_id = eos_token_id = 0

    def __call__(self, text: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[len(word) for word in one.split(" ")] for one in text]}

    def decode(self, token_ids: Any) -> str:
        return "<s>"


UNASKABLE = {
    "empty": ("the cat", "", "its continuation is empty"),
    "joined": ("the cat", "s", "joins its continuation 's' with the end of the prompt"),
    "too long": ("a", " zebra" * 30, "its continuation has 30 tokens, but the model's context has 16"),
}


@pytest.mark.parametrize(("context", "continuation", "reason"), UNASKABLE.values(), ids=UNASKABLE)
def test_what_lm_eval_stops_at_has_no_sequence_and_a_reason_that_names_the_doc(
    context: str, continuation: str, reason: str
) -> None:
    requests = [
        Request("loglikelihood", 6, 0, "the", " cat"),
        Request("loglikelihood", 7, 1, context, continuation),
        Request("loglikelihood", 8, 0, "the", " dog"),
    ]
    encoded = encode("mytask", requests, StringEncoder(cast(Any, Joins())), MAX_LENGTH)
    assert encoded.request_of.tolist() == [0, 2]
    assert encoded.n_requests == 3
    (line,) = encoded.unscorable
    assert line.startswith("mytask, doc 7, request 1: ")
    assert reason in line


def test_an_empty_context_without_a_prefix_token_is_an_error() -> None:
    class Bare:
        bos_token_id = eos_token_id = None

        def __call__(self, text: list[str], **_: Any) -> dict[str, list[list[int]]]:
            return {"input_ids": [[1, 2] for _ in text]}

        def decode(self, token_ids: int) -> str:
            raise AssertionError("there is no prefix token to decode")

    with pytest.raises(TokenizerError, match="neither a BOS nor an EOS"):
        encode("t", [pair_request("", "cat")], StringEncoder(cast(Any, Bare())), MAX_LENGTH)
