"""Any SOURCE, `--steps`, index or config gives a result or a readable error."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from milepost.sources import Steps, discover_all, identify
from milepost.sources.checksums import promised_sha256
from milepost.sources.local_folder import inspect_folder
from milepost.weights import LiveModel, context_length, read_checkpoint, read_config
from tests.cli.called import milepost
from tests.conftest import save_tiny_llama
from tests.sources.folders import model, refusal_of

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ADDRESS_PARTS = st.lists(
    st.sampled_from(["hf://", "org", "name", "/", "@", "*", "[", "]", "..", ".", "%2F", "%00", "main",
                     "step-", "refs/pr/1", "~", "\x1b[31m", "\0", "https://", "é", " ", "a:b@c"])
    | st.text(max_size=4),
    max_size=8,
).map("".join)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fuzzed") / "checkpoint-1"
    save_tiny_llama(place, seed=1)
    return place


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def check_message(refusal: Any) -> None:
    if refusal is not None:
        assert refusal.message.isprintable(), refusal.message
        assert (refusal.hint or "").isprintable(), refusal.hint


@given(ADDRESS_PARTS)
@example("hf://org/name@[")
@example("~nobody/x")
@example("[" * 300)
@example("a" * 5000)
@example("hf://org/name/" + "a/" * 2000)
@FEW
def test_any_source_is_found_or_refused(offline: None, tmp_path: Path, monkeypatch: Any, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (source, f"{tmp_path}/{source}", f"hf://{source}"):
        check_message(refusal_of(functools.partial(discover_all, [text])))


@given(st.text(alphabet="0123456789:-+ ,\n٣x", max_size=24) | st.text(max_size=12))
@example("9" * 18 + ":" + "9" * 18)
@FEW
def test_any_steps_are_read_or_refused(text: str) -> None:
    refusal = refusal_of(lambda: Steps.parse(text))
    check_message(refusal)
    if refusal is None:
        steps = Steps.parse(text)
        assert Steps.parse(str(steps)) == steps
        assert isinstance(10 in steps, bool)


@given(text=st.text(max_size=12).filter(lambda text: "\0" not in text))
@settings(FEW, max_examples=25)
def test_the_command_line_answers_any_steps_with_a_table_or_a_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    run = tmp_path_factory.getbasetemp() / "steps-run"
    if not run.exists():
        model(run / "step-1")
    called = milepost("list", run, f"--steps={text}", "--json")
    assert called.status in (0, 2)
    assert "Traceback" not in called.err


@given(
    st.fixed_dictionaries(
        {"weight_map": st.dictionaries(st.text(max_size=6), JSON | st.just("model.safetensors"), max_size=4)},
        optional={"metadata": JSON},
    )
    | JSON
)
@example({"weight_map": {"a": "model-00001-of-00001.safetensors"}})
@example({"weight_map": {"a": "\udcff"}})
@FEW
def test_any_index_is_read_or_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    place = tmp_path_factory.getbasetemp() / "fuzzed-index"
    if not place.exists():
        shutil.copytree(folder, place)
        (place / "model.safetensors").rename(place / "model-00001-of-00001.safetensors")
    (place / "model.safetensors.index.json").write_text(json.dumps(value))
    layout = inspect_folder(place)
    assert layout is not None
    assert layout.problem is None or layout.problem.isprintable()
    refusal = refusal_of(lambda: read_checkpoint(place, "safetensors"))
    assert refusal is not None  # no index names every tensor
    check_message(refusal)


SIZES = st.integers(-2, 70) | st.sampled_from([0, 10**6, 10**9, 10**12, 10**30, -(10**30), 1.5, 1e400, -1])
CONFIG_KEYS = st.sampled_from(
    ["model_type", "architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
     "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings", "rope_scaling",
     "rope_theta", "rope_parameters", "hidden_act", "rms_norm_eps", "attention_bias", "tie_word_embeddings",
     "torch_dtype", "dtype", "attn_implementation", "quantization_config", "auto_map", "layer_types",
     "text_config", "pad_token_id", "bos_token_id", "initializer_range", "attention_dropout", "use_cache"]
)  # fmt: skip


@given(st.dictionaries(CONFIG_KEYS | st.text(max_size=6), SIZES | JSON, min_size=1, max_size=3))
@example({"num_hidden_layers": 10**9})
@example({"model_type": "qwen2", "num_hidden_layers": 10**9})
@example({"hidden_size": 10**9})
@example({"vocab_size": 10**12})
@example({"max_position_embeddings": "many"})
@example({"max_position_embeddings": 10**30})
@example({"max_position_embeddings": -1})
@example({"dtype": "no_such"})
@example({"torch_dtype": ["float32"]})
@example({"architectures": [{}]})
@example({"rope_scaling": {"rope_type": "no_such"}})
@example({"num_attention_heads": 0})
@settings(FEW, max_examples=40)
def test_any_config_makes_the_model_or_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    place = tmp_path_factory.getbasetemp() / "fuzzed-config" / "checkpoint-1"
    if not place.exists():
        shutil.copytree(folder, place)
    config = json.loads((folder / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | changes))

    def use() -> None:
        (checkpoint,) = discover_all([str(place)])[0].checkpoints
        identify(checkpoint, place.parent / "sums")
        context_length(read_config(place), None)
        LiveModel.build(read_checkpoint(place, "safetensors"))

    check_message(refusal_of(use))


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"a":' * 60 + b"1" + b"}" * 60)
@example(b"\xff\xfe{}")
@FEW
def test_any_bytes_in_a_config_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    place = tmp_path_factory.getbasetemp() / "config-bytes"
    if not place.exists():
        model(place)
    (place / "config.json").write_bytes(content)

    def use() -> None:
        (checkpoint,) = discover_all([str(place)])[0].checkpoints
        identify(checkpoint, place.parent / "config-sums")

    check_message(refusal_of(use))
    refusal = refusal_of(lambda: read_config(place))
    assert refusal is not None
    assert "config.json" in refusal.message


@given(st.binary(max_size=80), st.booleans())
@FEW
def test_any_file_of_sums_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, own: bool
) -> None:
    place = model(tmp_path_factory.mktemp("sums"))
    (place / ("model.safetensors.sha256" if own else "SHA256SUMS")).write_bytes(content)
    check_message(refusal_of(lambda: promised_sha256(place / "model.safetensors")))
