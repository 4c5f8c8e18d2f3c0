"""Reading a checkpoint from disk: what is read equals what was saved, and what is damaged is named."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from milepost.errors import CheckpointError
from milepost.weights import context_length, read_checkpoint, read_config
from milepost.weights.formats.huggingface.safetensors import read_safetensors
from tests.sources.folders import refusal_of

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Any:
    """A copy of a small model that a test may break."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=5),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=5, max_size=5),
)
@settings(max_examples=40)
def test_every_tensor_of_a_file_is_what_safetensors_reads(
    tmp_path_factory: pytest.TempPathFactory, shapes: Any, dtypes: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    tensors = {
        f"t{i}": (torch.arange(torch.Size(shape).numel()) % 5).reshape(shape).to(dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    }
    save_file(tensors, path)
    read = read_safetensors(path)
    expected = load_file(path)
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert torch.equal(read[name].to(torch.float64), tensor.to(torch.float64))


def test_a_tensor_at_an_odd_offset_is_read(tmp_path: Path) -> None:
    header = {
        "byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "float": {"dtype": "F32", "shape": [1], "data_offsets": [1, 5]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "odd.safetensors"
    data = b"\7" + torch.tensor([1.5]).numpy().tobytes()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert read_safetensors(path)["float"].tolist() == [1.5]


@given(where=st.floats(0, 1, exclude_max=True), data=st.data())
@settings(max_examples=60)
def test_a_file_cut_anywhere_or_with_a_broken_header_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, where: Any, data: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    save_file({"a": torch.ones(3, 5), "b": torch.ones(7)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(where * len(whole))])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        read_safetensors(path)
    n_header = int.from_bytes(whole[:8], "little")
    broken = bytearray(whole)
    broken[data.draw(st.integers(0, 7 + n_header))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(broken)
    refusal = refusal_of(lambda: read_safetensors(path))
    if refusal is not None:
        assert "cut.safetensors" in refusal.message
    else:  # another name, or another type of the same width
        assert sum(tensor.nbytes for tensor in read_safetensors(path).values()) == 22 * 4


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b"[" * 50_000,
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [1]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"__metadata__": 1, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"__metadata__": {"format": "qt"}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},'
        b' "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},'
        b' "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, header: Any) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        read_safetensors(path)


def test_shards_are_read_as_one_and_must_be_what_the_index_says(shared: Path, tmp_path: Path) -> Any:
    source = shared / "checkpoints" / "hf"
    folder = Path(shutil.copytree(source / "sharded_llama" / "checkpoint-30", tmp_path / "m"))
    whole = read_checkpoint(source / "trainer_llama" / "checkpoint-30", "safetensors")
    sharded = read_checkpoint(folder, "safetensors")
    assert sharded.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(sharded.tensors[name], tensor) for name, tensor in whole.tensors.items())
    assert sharded.n_bytes == whole.n_bytes == 87120 * 4

    index = folder / "model.safetensors.index.json"
    told = json.loads(index.read_text())
    folder.chmod(0o755)
    index.chmod(0o644)

    def with_map(weight_map: Any) -> Any:
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(CheckpointError) as refusal:
            read_checkpoint(folder, "safetensors")
        return refusal.value.message

    shard = told["weight_map"]["lm_head.weight"]
    assert f"{shard} lacks extra" in with_map(told["weight_map"] | {"extra": shard})
    fewer = {name: where for name, where in told["weight_map"].items() if name != "lm_head.weight"}
    assert f"{shard} has lm_head.weight" in with_map(fewer)
    assert "gone.safetensors cannot be read" in with_map({"a": "gone.safetensors"})
    assert "points outside" in with_map({"a": "../x"})


def test_a_bin_file_is_read_like_its_safetensors_twin(folder: Path) -> None:
    expected = read_checkpoint(folder, "safetensors")
    torch.save(expected.tensors, folder / "pytorch_model.bin")
    read = read_checkpoint(folder, "bin")
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in expected.tensors.items())


@pytest.mark.parametrize("format", ["safetensors", "bin"])
def test_what_is_read_must_be_what_was_identified(folder: Path, format: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    name = "model.safetensors" if format == "safetensors" else "pytorch_model.bin"
    told = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()}
    assert read_checkpoint(folder, format, told).tensors.keys() == tensors.keys()
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is damaged or was overwritten"):
        read_checkpoint(folder, format, told)


@pytest.mark.parametrize(
    ("held", "named", "told"),
    [
        (torch.float32, "bfloat16", ("weights are float32, but config.json says bfloat16",)),
        (torch.float16, "bfloat16", ("weights are float16, but config.json says bfloat16",)),
        (torch.bfloat16, "float32", ()),
        (torch.float32, None, ()),
    ],
)
def test_weights_that_lose_by_the_configs_dtype_are_told(
    folder: Path, held: Any, named: Any, told: Any
) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor.to(held) for name, tensor in tensors.items()}, folder / "model.safetensors")
    edit_config(folder, dtype=named)
    assert read_checkpoint(folder, "safetensors").warnings == told


class Bomb:
    """A pickle that would leave a file behind if it were run."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda bomb: bomb,
        lambda bomb: {"weight": bomb},
        lambda bomb: {"weight": torch.ones(1), "optimizer": {"state": [bomb]}},
        lambda bomb: {bomb: torch.ones(1)},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    folder: Path, tmp_path: Path, wrap: Any, legacy: Any
) -> None:
    trace = tmp_path / "it-ran"
    torch.save(wrap(Bomb(trace)), folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    trace.unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin asks to run code"):
        read_checkpoint(folder, "bin")
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"PK\3\4",
        pickle.dumps([1], 2),
        pickle.dumps({"a": 1}, 2),
        pickle.dumps({1: 2}, 2),
        b"\x80\x02.",
    ],
)
def test_a_bin_file_that_holds_no_tensors_is_refused_by_name(folder: Path, content: bytes) -> None:
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        read_checkpoint(folder, "bin")


def test_oddities_are_told_and_a_bias_of_zeros_is_none(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(name for name in tensors if tensors[name].ndim > 1)
    tensors[names[0]] = torch.zeros_like(tensors[names[0]])
    tensors[names[1]].view(-1)[3] = float("nan")
    tensors[names[2]].view(-1)[3] = float("-inf")
    norm = next(name for name in tensors if tensors[name].ndim == 1)
    tensors[norm] = torch.zeros_like(tensors[norm])
    save_file(tensors, folder / "model.safetensors")
    assert read_checkpoint(folder, "safetensors").warnings == (
        f"NaN or Inf in {names[1]}, {names[2]}",
        f"only zeros in {names[0]}",
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "no-such"}, "model_type that transformers does not know: no-such"),
        ({"model_type": None}, "model_type that transformers does not know: None"),
        ({"model_type": ["llama"]}, "model_type that transformers does not know"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "x.Y"}}, "code of its own"),
        (
            {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
            "not for a causal language model",
        ),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized"),
        ({"attn_implementation": "someone/kernel"}, "code from the Hub"),
        ({"nested": {"_attn_implementation": "someone/kernel"}}, "code from the Hub"),
        ({"hidden_size": "wide"}, "not accepted by transformers"),
    ],
)
def test_a_config_that_is_no_causal_language_models_is_refused_before_the_weights_are_read(
    folder: Path, changes: Any, told: Any
) -> None:
    edit_config(folder, **changes)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError) as refusal:
        read_checkpoint(folder, "safetensors")
    assert told in refusal.value.message
    assert "config.json" in refusal.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 50_000])
def test_a_config_that_does_not_parse_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_config(folder)


def test_a_format_that_is_not_read_yet_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="onnx"):
        read_checkpoint(folder, "onnx")


class Told:
    """A config or tokenizer that says just these things."""

    def __init__(self, **said: object) -> None:
        self.__dict__.update(said)


@pytest.mark.parametrize(
    ("config", "tokenizer"),
    [
        (Told(n_positions=7, max_position_embeddings=8), None),
        (Told(max_position_embeddings=8, n_ctx=9), None),
        (Told(n_ctx=9), Told(model_max_length=5)),
        (Told(text_config=Told(max_position_embeddings=3), max_position_embeddings=8), None),
        (Told(text_config=None, n_ctx=4), None),
        (Told(text_config=Told(), n_ctx=4), Told(model_max_length=6)),
        (Told(), Told(model_max_length=1000000000000000019884624838656)),
        (Told(), Told(model_max_length=512)),
        (Told(), None),
    ],
)
def test_the_context_length_is_lm_evals(config: Any, tokenizer: Any) -> None:
    from lm_eval.models.utils import resolve_max_length

    assert context_length(config, tokenizer).tokens == resolve_max_length(config, tokenizer)
