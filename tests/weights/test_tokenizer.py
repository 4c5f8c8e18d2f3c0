"""Loading a tokenizer, and naming it by what it does."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from milepost.errors import TokenizerError
from milepost.weights import files_id, load_tokenizer, tokenizer_id


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Any:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def test_it_is_the_tokenizer_that_lm_eval_loads(tiny_llama: Path) -> None:
    text = "the cat sat  on\nthe mat"
    expected = AutoTokenizer.from_pretrained(tiny_llama, use_fast=True, trust_remote_code=False)
    assert load_tokenizer(tiny_llama)(text).input_ids == expected(text).input_ids


def test_two_copies_have_one_identity_and_using_one_does_not_change_it(
    folder: Path, tiny_llama: Path
) -> None:
    tokenizer = load_tokenizer(folder)
    first = tokenizer_id(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    padded = tokenizer_id(tokenizer)
    tokenizer(["a", "the cat"], padding=True, truncation=True, max_length=2)
    assert tokenizer_id(tokenizer) == padded
    assert tokenizer_id(load_tokenizer(tiny_llama)) == first
    assert len(first) == 64


def edited(folder: Path, name: str, change: Any) -> Any:
    told = json.loads((folder / name).read_text())
    change(told)
    (folder / name).write_text(json.dumps(told))
    return tokenizer_id(load_tokenizer(folder))


def test_whatever_changes_token_ids_changes_the_identity(folder: Path) -> None:
    seen = {tokenizer_id(load_tokenizer(folder))}
    seen.add(edited(folder, "tokenizer.json", lambda told: told["model"]["merges"].pop()))
    seen.add(edited(folder, "tokenizer.json", lambda told: told.update(normalizer={"type": "Lowercase"})))
    seen.add(edited(folder, "tokenizer_config.json", lambda told: told.update(bos_token="</s>")))
    seen.add(
        edited(folder, "tokenizer_config.json", lambda told: told.update(chat_template="{{ messages }}"))
    )
    seen.add(edited(folder, "tokenizer_config.json", lambda told: told.update(model_max_length=77)))
    assert len(seen) == 6


@pytest.mark.parametrize("text", ["", "{", "{}", "[]"])
def test_files_that_make_no_tokenizer_are_refused_with_what_to_do(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(TokenizerError) as refusal:
        load_tokenizer(folder)
    assert str(folder) in refusal.value.message
    assert "--tokenizer" in refusal.value.hint


@pytest.mark.parametrize(
    ("setting", "value"),
    [("model_max_length", "abc"), ("model_max_length", []), ("padding_side", 3), ("truncation_side", "up")],
)
def test_settings_with_which_no_text_is_encoded_are_refused(folder: Path, setting: str, value: Any) -> None:
    with pytest.raises(TokenizerError, match=r"cannot encode a text|does not load") as refusal:
        edited(folder, "tokenizer_config.json", lambda told: told.update({setting: value}))
    assert "--tokenizer" in refusal.value.hint


def test_folders_that_differ_in_weights_only_have_one_tokenizer_by_their_files(
    folder: Path, tiny_llama: Path
) -> None:
    (folder / "model.safetensors").write_bytes(b"other weights")
    (folder / "trainer_state.json").write_text("{}")
    assert files_id(folder) == files_id(tiny_llama)


@pytest.mark.parametrize(
    "name",
    ["tokenizer.json", "config.json", "new.vocab", "chat_template.jinja", "more_chat_templates/a.jinja"],
)
def test_any_file_that_may_be_a_tokenizers_tells_folders_apart(
    folder: Path, tiny_llama: Path, name: str
) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("a") as file:
        file.write(" ")
    assert files_id(folder) != files_id(tiny_llama)


@pytest.mark.parametrize(
    ("file", "package"),
    [("tokenizer.model", "sentencepiece"), ("spiece.model", "sentencepiece"), ("qwen.tiktoken", "tiktoken")],
)
def test_a_package_that_the_files_need_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, package: str
) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / file).write_bytes(b"no model")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "milepost.weights.tokenizer.find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(TokenizerError) as refusal:
        load_tokenizer(folder)
    assert f"{file} is read by the package {package}, which is not installed" in refusal.value.message
    assert "pip install" in str(refusal.value.hint)
