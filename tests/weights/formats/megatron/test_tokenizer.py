"""The tokenizer that a Megatron-LM run was trained with is found by the args in its checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from milepost.errors import TokenizerError
from milepost.sources import discover
from milepost.weights import load_tokenizer, tokenizer_folder
from tests.weights.formats.megatron.made import made_args, random_model, write_legacy, write_torch_dist

TEXT = "the cat sat on the mat"


def checkpoint(folder: Path, **changes: Any) -> Any:
    args = made_args(**changes)
    return discover(str(write_legacy(folder / "run", args, random_model(args)))).checkpoints[0]


@pytest.fixture(scope="module")
def huggingface(shared: Path) -> Path:
    return shared / "checkpoints" / "hf" / "trainer_llama" / "checkpoint-10"


@pytest.fixture(scope="module")
def spm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentencepiece model of the kind that Llama 2's is: pairs, bytes, no normalisation of the text."""
    folder = tmp_path_factory.mktemp("spm")
    lines = [f"{TEXT}, number {i}: {i * 37 % 101}  and  naïve cafés" for i in range(300)]
    (folder / "text.txt").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "spm"),
        vocab_size=330,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return folder / "spm.model"


def test_a_hugging_face_tokenizer_is_taken_from_where_it_was(tmp_path: Path, huggingface: Path) -> None:
    one = checkpoint(tmp_path, tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(huggingface))
    assert tokenizer_folder(one) == huggingface.resolve()


def test_a_path_of_another_machine_is_looked_for_beside_the_checkpoints(
    tmp_path: Path, huggingface: Path
) -> None:
    one = checkpoint(tmp_path, tokenizer_type="HuggingFaceTokenizer", tokenizer_model="/data/tokenizers/ours")
    shutil.copytree(huggingface, tmp_path / "run" / "ours")
    assert tokenizer_folder(one) == (tmp_path / "run" / "ours").resolve()


def test_vocabulary_and_merges_make_a_gpt2_tokenizer(tmp_path: Path) -> None:
    vocabulary = {"t": 0, "h": 1, "e": 2, "th": 3, "the": 4, "Ġ": 5, "<|endoftext|>": 6}
    (tmp_path / "gpt2-vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "gpt2-merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    one = checkpoint(
        tmp_path,
        tokenizer_type="GPT2BPETokenizer",
        vocab_file=str(tmp_path / "gpt2-vocab.json"),
        merge_file=str(tmp_path / "gpt2-merges.txt"),
    )
    tokenizer = load_tokenizer(tokenizer_folder(one))
    assert tokenizer("the the").input_ids == [4, 5, 4]
    assert tokenizer.eos_token_id == 6


@pytest.mark.parametrize(("kind", "begins"), [("Llama2Tokenizer", True), ("SentencePieceTokenizer", False)])
def test_a_sentencepiece_model_gives_sentencepieces_own_ids(
    tmp_path: Path, spm: Path, kind: str, begins: bool
) -> None:
    one = checkpoint(tmp_path, tokenizer_type=kind, tokenizer_model=str(spm))
    tokenizer = load_tokenizer(tokenizer_folder(one))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(spm))
    assert tokenizer(TEXT).input_ids == [theirs.bos_id()] * begins + theirs.encode(TEXT)


def test_a_sentencepiece_model_that_splits_otherwise_is_refused(tmp_path: Path, spm: Path) -> None:
    sentencepiece.SentencePieceTrainer.train(
        input=str(spm.parent / "text.txt"),
        model_prefix=str(tmp_path / "other"),
        vocab_size=80,
        model_type="unigram",
        minloglevel=2,
    )
    one = checkpoint(
        tmp_path, tokenizer_type="SentencePieceTokenizer", tokenizer_model=str(tmp_path / "other.model")
    )
    with pytest.raises(TokenizerError, match="splits text unlike any tokenizer of transformers"):
        tokenizer_folder(one)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokenizer_type": "NullTokenizer"}, "was trained with a NullTokenizer"),
        ({"tokenizer_type": "Llama2Tokenizer", "tokenizer_model": "/gone/x.model"}, "was not found: /gone/x"),
        ({"tokenizer_type": "Llama2Tokenizer"}, "its args have no tokenizer_model"),
        ({"tokenizer_type": "GPT2BPETokenizer", "vocab_file": "\0"}, "vocab_file|is not a valid path"),
    ],
)
def test_what_is_not_here_is_said(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    one = checkpoint(tmp_path, **changes)
    with pytest.raises(TokenizerError, match=reason) as refusal:
        tokenizer_folder(one)
    assert "--tokenizer" in str(refusal.value.hint)


def test_torch_dist_checkpoints_name_theirs_too(tmp_path: Path, huggingface: Path) -> None:
    args = made_args(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(huggingface))
    folder = write_torch_dist(tmp_path / "run", args, random_model(args))
    assert tokenizer_folder(discover(str(folder)).checkpoints[0]) == huggingface.resolve()
