"""Small files that ask for much memory or time: refused with one line, within bounds."""

from __future__ import annotations

import io
import json
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from milepost.errors import CheckpointError, TokenizerError
from milepost.sources.formats.huggingface.safetensors_header import read_header
from milepost.sources.torch_archive import read_archive
from milepost.weights import LiveModel, load_tokenizer, read_checkpoint, read_config
from tests.sources.folders import refusal_of

MIB = 1 << 20


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Python itself needs less than 300 MiB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * MIB


def build(folder: Path) -> LiveModel:
    format = "bin" if (folder / "pytorch_model.bin").exists() else "safetensors"
    return LiveModel.build(read_checkpoint(folder, format), dtype="float32")


def reconfigured(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_labels": 60_000_000}, "num_labels is 60000000, which is implausibly large"),
        ({"num_hidden_layers": 10**7}, "num_hidden_layers is 10000000"),
        ({"text_config": {"num_local_experts": 10**9}}, "num_local_experts is 1000000000"),
        ({"model_type": "gpt_neo", "attention_types": [[["global", "local"], 10**9]]}, "attention_types"),
        ({"vocab_size": 10**12}, "embed_tokens.weight"),
        ({"hidden_size": 10**9}, "config"),
        ({"intermediate_size": 10**12}, "mlp"),
        ({"num_hidden_layers": 5000}, "its config 5000 layers"),
    ],
)
def test_a_config_of_absurd_sizes_is_refused(folder: Path, changes: dict[str, Any], words: str) -> None:
    reconfigured(folder, **changes)
    assert words in refusal_of(lambda: build(folder)).message


def test_a_config_whose_weights_are_not_in_the_file_takes_no_memory_for_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Biases that the config adds are few; here any allowance is taken away to see the sum at work."""
    monkeypatch.setattr("milepost.weights.module.ALLOWANCE", 0)
    monkeypatch.setattr("milepost.weights.module.MOST_MORE", 1)
    reconfigured(folder, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    refusal = refusal_of(lambda: build(folder))
    assert "does not fit its config" in refusal.message
    assert "correct the sizes" in str(refusal.hint)


def as_bin(folder: Path, tensors: Any) -> Path:
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


@pytest.mark.usefixtures("little_memory")
def test_a_sparse_view_of_few_bytes_is_not_expanded(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.zeros(1).as_strided((10**10,), (0,))
    as_bin(folder, tensors)
    message = refusal_of(lambda: build(folder)).message
    assert "model.norm.weight has 10000000000 elements, more than the file has" in message
    with pytest.raises(CheckpointError, match="more elements than its storage"):
        read_archive(folder / "pytorch_model.bin")


@pytest.mark.usefixtures("little_memory")
def test_a_compressed_archive_is_not_expanded(folder: Path) -> None:
    as_bin(folder, load_file(folder / "model.safetensors"))
    path = folder / "pytorch_model.bin"
    squeezed = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as after:
        for record in before.infolist():
            with after.open(record.filename, "w", force_zip64=True) as file:
                if record.filename.endswith("data/0"):
                    for _ in range(400):
                        file.write(bytes(MIB))
                else:
                    file.write(before.read(record))
    path.write_bytes(squeezed.getvalue())
    assert "is compressed, which torch's own files are not" in refusal_of(lambda: build(folder)).message


def header(path: Path, tensors: Any) -> Path:
    text = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: header(path, {f"x{i}": EMPTY for i in range(1_500)}), "lists 1500 tensors"),
        (lambda path: header(path, b" " * (1 << 26)), "has a header of 67108864 bytes"),
        (
            lambda path: header(path, {"x": EMPTY | {"shape": [2**62] * 10_000}}),
            "invalid description of tensor x",
        ),
        (lambda path: header(path, {"x": EMPTY | {"shape": [1] * 65}}), "invalid description of tensor x"),
    ],
)
def test_a_header_longer_than_any_models_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.sources.formats.huggingface.safetensors_header.MAX_TENSORS", 1_000)
    with pytest.raises(CheckpointError, match=words):
        read_header(make(tmp_path / "model.safetensors"))


def test_many_tensors_without_a_place_are_judged_in_time_that_grows_with_their_number(folder: Path) -> None:
    from milepost.weights.extra_tensors import sort_left_over

    names = [f"x{i}" for i in range(50_000)]
    known = [f"model.layers.{i}.mlp.weight" for i in range(5_000)]
    assert sort_left_over(names, known, {}) == ({}, names)


def retokenized(folder: Path, **changes: Any) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def replacing(content: str, times: int, pattern: Any = None) -> dict[str, Any]:
    one = {"type": "Replace", "pattern": pattern or {"String": " "}, "content": content}
    return {"type": "Sequence", "normalizers": [one] * times}


@pytest.mark.parametrize(
    "normalizer",
    [
        replacing(" " * 100, 3),
        replacing("  ", 40),
        replacing("x" * 5000, 1, {"Regex": "."}),
        {"type": "Sequence", "normalizers": [replacing(" " * 50, 1), replacing(" " * 50, 1)]},
        {"type": "Prepend", "prepend": "x" * 10**6},
    ],
)
def test_a_normalizer_that_makes_texts_explode_is_refused(folder: Path, normalizer: dict[str, Any]) -> None:
    with pytest.raises(TokenizerError) as refusal:
        load_tokenizer(retokenized(folder, normalizer=normalizer))
    assert "has a normalizer that makes up to" in refusal.value.message
    assert "--tokenizer" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        {"type": "NFKC"},
        {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        replacing("<space>", 1),
    ],
)  # fmt: skip
def test_normalizers_as_they_are_are_taken(folder: Path, normalizer: Any) -> None:
    assert load_tokenizer(retokenized(folder, normalizer=normalizer))("the cat").input_ids


def test_a_template_of_thousands_of_tokens_is_refused(folder: Path) -> None:
    processor = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0] * 100_000, "tokens": ["<s>"] * 100_000}},
    }
    with pytest.raises(TokenizerError, match="puts 100,000 tokens around each text"):
        load_tokenizer(retokenized(folder, post_processor=processor))


def test_a_pipe_among_a_tokenizers_files_is_named_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "added_tokens.json")
    with pytest.raises(TokenizerError, match=r"added_tokens\.json is a named pipe, not a file"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_that_takes_a_files_place_later_is_not_waited_for(folder: Path, name: str) -> None:
    """It was a file when the checkpoint was listed."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    work = read_config if name == "config.json" else build
    assert "has no config.json" in (message := refusal_of(lambda: work(folder)).message) or (
        "it is a named pipe, not a file" in message
    )
