"""Texts end where lm_eval's own criterion ends them, however the tokenizer splits characters."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.models.utils_hf import MultiTokenEOSCriteria
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from milepost.engine.generate.stopping import Stops
from milepost.types.generation import Generation

LINES = [
    "naïve café Ünïcödé 日本語 한국어 ΑΒΓ 12345",
    "The cat 🙂 sat.\n\nQ: what 😀😀? é",
    "a b  c <|x|> \ufffd",
]
STRINGS = [
    "é",
    "\ufffd",
    "日",
    "本語",
    "🙂",
    "\n\n",
    " ",
    " a",
    "a",
    "ï",
    "café Ü",
    "\n\nQ:",
    "s.",
    "é ",
    "\ufffd\ufffd",
]
MOST = 30
KINDS = ["bytes", "byte fallback"]


def tokenizer_of(kind: str, shared: Path) -> Any:
    if kind == "gpt2":
        return AutoTokenizer.from_pretrained(shared / "hub" / "models" / "openai-community" / "gpt2" / "main")
    if kind == "bytes":
        own = Tokenizer(models.BPE())
        own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        own.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, special_tokens=["</s>"], show_progress=False
        )
        own.train_from_iterator(LINES * 3, trainer)
    else:  # as SentencePiece's: characters it does not know become bytes, a space is a mark
        pieces = ["<unk>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *"abcdefghistuwQ.:ï"]
        own = Tokenizer(
            models.BPE(
                {piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>"
            )
        )
        own.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
        steps = [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
        own.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=own, eos_token="</s>")


def by_lm_eval(tokenizer: Any, tokens: list[int], until: list[str]) -> tuple[int, str]:
    """Return how many tokens lm_eval's criterion lets through, and the text that it leaves."""
    criteria = [MultiTokenEOSCriteria(string, tokenizer, 0, 1) for string in until]
    n = next(
        (
            n
            for n in range(1, MOST)
            if any(criterion(torch.tensor([tokens[:n]]), None) for criterion in criteria)
        ),
        MOST,
    )
    decoded = tokenizer.decode(tokens[:n], skip_special_tokens=True)
    return n, postprocess_generated_text(decoded, until, None)


def some_tokens(random_: random.Random, tokenizer: Any) -> list[int]:
    """Return parts of texts, parts of characters, and random tokens."""
    tokens: list[int] = []
    while len(tokens) < MOST:
        text = random_.choice(LINES)[random_.randrange(20) :][: random_.randrange(1, 12)]
        ids = tokenizer.encode(
            text if random_.random() < 0.6 else random_.choice(STRINGS), add_special_tokens=False
        )
        start = random_.randrange(3)
        tokens += ids[start:] if random_.random() < 0.7 else [random_.randrange(2, len(tokenizer))]
    return tokens


@pytest.mark.parametrize("kind", KINDS)
def test_texts_end_where_those_of_lm_eval_do(kind: str, shared: Path) -> None:
    tokenizer, random_ = tokenizer_of(kind, shared), random.Random(0)
    ends = set()
    for _ in range(12):
        until = random_.sample(STRINGS, random_.choice([1, 1, 2]))
        asked = Generation(until=tuple(until), max_new_tokens=MOST)
        every = [Stops(tokenizer, asked, incremental=incremental) for incremental in (True, False)]
        for _ in range(25):
            tokens = some_tokens(random_, tokenizer)
            expected, text = by_lm_eval(tokenizer, tokens, until)
            ends.add(expected)
            for stops in every:
                n = next(n for n in range(1, MOST + 1) if stops.is_finished(tokens[:n]))
                assert (n, stops.text(tokens[:n])) == (expected, text), (until, tokens)
    assert len(ends) > 5


def test_a_character_that_is_cut_by_looking_back_counts_as_broken(shared: Path) -> None:
    """Three tokens after 🙂, two tokens of GPT-2, only its second token is in the window."""
    tokenizer = tokenizer_of("gpt2", shared)
    tokens = tokenizer.encode("t🙂 sat.", add_special_tokens=False)
    until = [" \ufffd", "\ufffd\ufffd", "\ufffd"]
    asked = Generation(until=tuple(until), max_new_tokens=MOST)
    for incremental in (True, False):
        stops = Stops(tokenizer, asked, incremental=incremental)
        assert [stops.is_finished(tokens[: n + 1]) for n in range(len(tokens))].index(True) == 1
    whole = Stops(tokenizer, Generation(until=("🙂",), max_new_tokens=MOST))
    assert not whole.is_finished(tokens[:2])
    assert whole.is_finished(tokens[:3])
