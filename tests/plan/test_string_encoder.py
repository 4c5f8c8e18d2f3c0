"""Strings to ids piece by piece: the same ids as the tokenizer gives for the whole string."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from milepost.plan.piecewise_bpe import (
    CL100K_WORDS,
    CUT,
    GPT2_WORDS,
    PieceEncoder,
    can_be_cut,
    encoder_of,
)
from milepost.plan.string_encoder import StringEncoder

CORPUS = [
    "Question: what is 12345 + 678?\nA. 13\nB. it's\nC. they've gone\nAnswer: B\n\nthe cat sat on the mat",
    "  indented\n\tcode = [1, 2]\r\nreturn code  \n\n\nÄpfel über naïve ² ½ 北京 😀\nEnd.",
]
BPE = functools.partial(
    trainers.BpeTrainer,
    vocab_size=420,
    special_tokens=["<s>", "</s>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
)


def byte_level(words: str = GPT2_WORDS) -> Tokenizer:
    """A byte-level BPE tokenizer whose words are those of an expression, as Llama 3 has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.train_from_iterator(CORPUS, BPE())
    return tokenizer


def gpt2() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, BPE())
    return tokenizer


def with_template(tokenizer: Tokenizer, template: str | None) -> PreTrainedTokenizerFast:
    if template is not None:
        tokenizer.post_processor = TemplateProcessing(
            single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": gpt2,
    "gpt2-split": byte_level,
    "llama3": lambda: byte_level(CL100K_WORDS % "{1,3}"),
    "qwen2": lambda: byte_level(CL100K_WORDS % ""),
}
TEMPLATES = (None, "<s> $A", "<s> $A </s>")


@functools.cache
def made(kind: str, template: str | None) -> PreTrainedTokenizerFast:
    return with_template(KINDS[kind](), template)


def whole(tokenizer: Any, texts: list[str], special: bool) -> list[list[int]]:
    return [tokenizer(text, add_special_tokens=special)["input_ids"] for text in texts]


ODD = st.sampled_from(
    ["\n", "\n\n", "\r\n", "\r", " ", "  ", "\t", "\u00a0", "\u2028", "\x0b", "\x1c", "\x85", "'s", "'S", "'"]
)
WORDS = st.sampled_from(
    ["the", "Cat", "A.", "12", "3456", "Ä", "北京", "😀", "²", "e\u0301", "<s>", "</s>", ".", "["]
)
TEXTS = st.lists(st.one_of(ODD, WORDS, st.text(max_size=3)), max_size=14).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=60)
@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
def test_a_cut_string_has_the_ids_of_the_whole_one(kind: str, template: str | None, texts: list[str]) -> None:
    tokenizer = made(kind, template)
    encoder = StringEncoder(cast(Any, tokenizer))
    assert encoder.cuts
    for special in (True, False):
        encoder.add([(text, special) for text in texts])
        assert [encoder[text, special] for text in texts] == whole(tokenizer, texts, special)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5), shared=TEXTS)
def test_pieces_alone_are_right_without_the_comparison(kind: str, texts: list[str], shared: str) -> None:
    """`StringEncoder` would hide a wrong cut by falling back; this looks below it."""
    tokenizer = made(kind, None)
    strings = [shared + text for text in texts]
    pieces = PieceEncoder(tokenizer.backend_tokenizer)
    assert pieces.encode(strings) == whole(tokenizer, strings, special=False)


def test_texts_can_be_encoded_one_at_a_time_within_a_bound_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.plan.piecewise_bpe.MOST_PIECES", 3)
    tokenizer = made("gpt2", "<s> $A")
    encode = encoder_of(tokenizer)
    assert encode is not None
    texts = [f"Question: what?\nA. {number}\nB. two\nAnswer: A" for number in range(5)]
    assert [encode(text) for text in texts] == whole(tokenizer, texts, special=False)


def test_few_shot_prompts_are_cut_where_examples_repeat() -> None:
    prompt = "Question: what?\nA. one\nB. two\nAnswer: A\n\nQuestion: who?\nAnswer:"
    assert CUT.split(prompt) == [
        "Question: what?\n",
        "A. one\n",
        "B. two\n",
        "Answer: A\n\nQuestion: who?\n",
        "Answer:",
    ]


def metaspace() -> Tokenizer:
    tokenizer = gpt2()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def by_white_space() -> Tokenizer:
    tokenizer = gpt2()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def with_prefix_space() -> Tokenizer:
    tokenizer = gpt2()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def without_words() -> Tokenizer:
    tokenizer = gpt2()
    tokenizer.pre_tokenizer = None
    return tokenizer


def unknown_words() -> Tokenizer:
    return byte_level(r"\n?\p{L}+|[^\p{L}]")


def normalised() -> Tokenizer:
    tokenizer = gpt2()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("\n", " "), normalizers.Lowercase()])
    return tokenizer


def with_added(content: str, **flags: bool) -> Callable[[], Tokenizer]:
    def make() -> Tokenizer:
        tokenizer = gpt2()
        tokenizer.add_tokens([AddedToken(content, **flags)])
        return tokenizer

    return make


UNSAFE: dict[str, Callable[[], Tokenizer]] = {
    "Metaspace": metaspace,
    "white space": by_white_space,
    "a space in front": with_prefix_space,
    "no words": without_words,
    "unknown words": unknown_words,
    "a normaliser": normalised,
    "an added token with a newline": with_added("?\nA"),
    "an added token that eats space": with_added("<mask>", lstrip=True),
    "an added word": with_added("cat", single_word=True),
}


@pytest.mark.parametrize("make", UNSAFE.values(), ids=UNSAFE)
def test_a_tokenizer_for_which_a_cut_is_not_known_to_be_safe_is_not_cut(
    make: Callable[[], Tokenizer],
) -> None:
    tokenizer = with_template(make(), "<s> $A")
    assert not can_be_cut(tokenizer.backend_tokenizer)
    assert encoder_of(tokenizer) is None
    encoder = StringEncoder(cast(Any, tokenizer))
    assert not encoder.cuts
    texts = ["who?\nA cat\nthe dog", "x\n<mask>y"]
    encoder.add([(text, True) for text in texts])
    assert [encoder[text, True] for text in texts] == whole(tokenizer, texts, special=True)


def test_nfc_is_a_normaliser_that_a_cut_survives() -> None:
    tokenizer = gpt2()
    tokenizer.normalizer = normalizers.NFC()
    assert can_be_cut(tokenizer)


class Deceitful:
    """A tokenizer that does more to a text than its backend says."""

    def __init__(self) -> None:
        self._true = made("gpt2", "<s> $A")
        self.backend_tokenizer = self._true.backend_tokenizer
        self.bos_token_id, self.eos_token_id = 0, 1

    def __call__(self, text: list[str], **kwargs: Any) -> Any:
        return self._true([one.replace("\n", " ") for one in text], **kwargs)

    def decode(self, token_ids: int) -> str:
        return str(self._true.decode(token_ids))


def test_a_tokenizer_that_is_not_what_it_says_is_found_out_and_no_longer_cut() -> None:
    tokenizer = Deceitful()
    encoder = StringEncoder(cast(Any, tokenizer))
    assert encoder.cuts
    texts = ["who?\nA cat", "the\ndog sat"]
    encoder.add([(text, True) for text in texts])
    assert not encoder.cuts
    assert [encoder[text, True] for text in texts] == tokenizer(texts)["input_ids"]


def test_special_tokens_are_left_out_where_the_text_begins_with_the_prefix_token() -> None:
    encoder = StringEncoder(made("gpt2", "<s> $A"))
    assert encoder.usual("<s>the cat") == ("<s>the cat", False)
    assert encoder.usual("the cat") == ("the cat", True)
    assert encoder.prefix == 0


def test_cutting_can_be_switched_off() -> None:
    assert not StringEncoder(made("gpt2", None), cut=False).cuts
