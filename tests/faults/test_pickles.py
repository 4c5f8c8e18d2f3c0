"""Pickles that would run code when torch loads them: none runs, each is named, the others are scored."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.called import milepost
from tests.run.own_tasks import write_tasks

BIN = "pytorch_model.bin"


class Bomb:
    """Would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.trace, "w")


class NestedBomb:
    """Hides the call in the state that an allowed class is given."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        import collections

        return collections.OrderedDict, (), None, None, iter([("weight", Bomb(self.trace))])


def saved(path: Path, content: Any) -> None:
    torch.save(content, path)


def by_alias(path: Path, tensors: dict[str, torch.Tensor], trace: Path) -> None:
    """`open` under another name: an attribute of a module that is allowed, `torch.storage.io.open`."""
    saved(path, tensors)
    text = str(trace).encode()
    argument = b"X" + len(text).to_bytes(4, "little") + text
    code = b"\x80\x04ctorch.storage\nio.open\n(" + argument + b"X\x01\x00\x00\x00wtR."
    content = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content[name] = code if name.endswith("data.pkl") else archive.read(name)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def in_a_shard(path: Path, tensors: dict[str, torch.Tensor], trace: Path) -> None:
    first, second = sorted(tensors)[::2], sorted(tensors)[1::2]
    shards = [f"pytorch_model-{n:05d}-of-00002.bin" for n in (1, 2)]
    saved(path.with_name(shards[0]), {name: tensors[name] for name in first})
    saved(path.with_name(shards[1]), {name: tensors[name] for name in second} | {"x": Bomb(trace)})
    told = dict.fromkeys(first, shards[0]) | dict.fromkeys([*second, "x"], shards[1])
    index = str({"weight_map": told}).replace("'", '"')
    path.with_name(f"{BIN}.index.json").write_text(index)


PICKLES: dict[str, Callable[[Path, dict[str, torch.Tensor], Path], None]] = {
    "reduce": lambda path, tensors, trace: saved(path, Bomb(trace)),
    "nested": lambda path, tensors, trace: saved(path, tensors | {"more": NestedBomb(trace)}),
    "optimizer state": lambda path, tensors, trace: saved(
        path, tensors | {"optimizer": {"state": {0: {"exp_avg": Bomb(trace)}}}}
    ),
    "a shard": in_a_shard,
    "rng state": lambda path, tensors, trace: saved(
        path, tensors | {"rng_state": {"python": (3, (Bomb(trace),), None)}}
    ),
    "global alias": by_alias,
}


BESIDE = ("optimizer.pt", "rng_state.pth", "training_args.bin", "scheduler.pt")
"""What a Trainer leaves beside the weights, and Milepost does not read."""


def test_none_of_six_pickles_runs_and_each_is_named(tiny_run: Path, tmp_path: Path) -> None:
    traces, source = tmp_path / "traces", tmp_path / "run"
    traces.mkdir()
    shutil.copytree(tiny_run / "checkpoint-10", source / "checkpoint-1")
    for step, (name, make) in enumerate(PICKLES.items(), 2):
        folder = Path(shutil.copytree(tiny_run / "checkpoint-20", source / f"checkpoint-{step}"))
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        make(folder / BIN, tensors, traces / name)
    for other in BESIDE:
        saved(source / "checkpoint-1" / other, {"state": [0, Bomb(traces / other)]})
    saved(source / "checkpoint-1" / "harmless.pt", {"state": [0, torch.ones(2)], "set": {1, 2}})
    for trace in traces.iterdir():  # saving must not count as running
        trace.unlink()

    tasks = write_tasks(tmp_path / "tasks")
    called = milepost("run", source, "-t", "where", "--include-path", tasks, "-o", tmp_path / "out")

    assert called.status == 1
    assert list(traces.iterdir()) == []
    failed = dict(re.findall(r"^failed: run/(checkpoint-\d): (.*)$", called.err, re.MULTILINE))
    assert set(failed) == {f"checkpoint-{step}" for step in range(2, 8)}
    for reason in failed.values():
        assert re.search(r"pytorch_model(-00002-of-00002)?\.bin asks to run code \([\w.]*open\)", reason)
    assert "1 scored, 6 failed" in called.err
    for other in BESIDE:
        assert f"checkpoint-1: {other} would run code when loaded" in called.err
    assert "harmless" not in called.err


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the pickle opens a file
def test_each_of_them_would_run_if_torch_were_let(tmp_path: Path, name: str) -> None:
    """Otherwise the test above would pass for duds."""
    path, trace = tmp_path / BIN, tmp_path / "trace"
    PICKLES[name](path, {"a": torch.ones(1), "b": torch.ones(1)}, trace)
    trace.unlink(missing_ok=True)
    loaded = path if path.exists() else path.with_name("pytorch_model-00002-of-00002.bin")
    torch.load(loaded, weights_only=False)
    assert trace.exists()


def test_code_beside_the_weights_is_not_run(tiny_llama: Path, tmp_path: Path) -> None:
    """`trust_remote_code` is off: what Python a config or tokenizer brings is refused or ignored."""
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "run" / "checkpoint-1"))
    trace = tmp_path / "trace"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\nclass Own: pass\n")
    hooks = {
        "AutoConfig": "own.Own",
        "AutoModelForCausalLM": "own.Own",
        "AutoTokenizer": ["own.Own", "own.Own"],
    }
    for name in ("config.json", "tokenizer_config.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("{", f'{{"auto_map": {hooks!s},'.replace("'", '"'), 1))
    tasks = write_tasks(tmp_path / "tasks")
    called = milepost("run", folder, "-t", "where", "--include-path", tasks, "-o", tmp_path / "out")
    assert not trace.exists()
    assert "Traceback" not in called.err
    assert called.status in (0, 2)
