"""Files of `torch.save`, looked into without torch and without running anything of them."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost.errors import CheckpointError
from milepost.sources.safe_unpickler import StandIn
from milepost.sources.torch_archive import StoredTensor, read_archive
from milepost.weights.torch_tensors import open_archive


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_every_tensor_is_read_from_its_place(tmp_path: Path) -> None:
    base = torch.arange(60, dtype=torch.float32)
    tensors = {
        "plain": torch.randn(3, 5),
        "view": base[10:40].view(5, 6),
        "transposed": base[10:40].view(5, 6).t(),
        "every_second": base[::2],
        "bfloat16": torch.randn(4, 2).bfloat16(),
        "float8": torch.randn(4, 2).to(torch.float8_e4m3fn),
        "integers": torch.tensor([1, -2, 3]),
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }
    torch.save(tensors, tmp_path / "a.pt")
    stored = read_archive(tmp_path / "a.pt")
    with open_archive(tmp_path / "a.pt") as archive:
        found = {name: archive.read(place) for name, place in stored.items()}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(found[name].float(), tensor.detach().float()), name


def test_a_tensor_is_read_alone(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(4), "optimizer": torch.zeros(1000)}, tmp_path / "a.pt")
    values = read_archive(tmp_path / "a.pt")
    assert isinstance(values["optimizer"], StoredTensor)
    assert values["optimizer"].n_bytes == 4000
    with open_archive(tmp_path / "a.pt") as archive:
        assert archive.read(values["weights"]).tolist() == [1, 1, 1, 1]


def test_an_allowed_class_becomes_a_stand_in_that_keeps_its_values(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(num_layers=4, dtype=torch.bfloat16)}, tmp_path / "a.pt")
    args = read_archive(tmp_path / "a.pt", ["argparse.Namespace"])["args"]
    assert isinstance(args, StandIn)
    assert args.qualified_name == "argparse.Namespace"
    assert args.attributes == {"num_layers": 4, "dtype": "bfloat16"}


def test_what_is_not_allowed_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt asks to run code \(argparse\.Namespace\)"):
        read_archive(tmp_path / "a.pt")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_command_in_the_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    torch.save({"a": Command(f"touch {mark}")}, tmp_path / "a.pt", pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match=r"\((posix|nt)\.system\)"):
        read_archive(tmp_path / "a.pt", ["argparse.Namespace"])
    assert not mark.exists()


def test_a_stand_in_cannot_be_made_to_outlive_its_file(tmp_path: Path) -> None:
    """BUILD on the class itself, with a state that sets attributes."""
    code = b"\x80\x02cargparse\nNamespace\nN}U\x05givenU\x03badso}\x86b."
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", code)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_archive(tmp_path / "a.pt", ["argparse.Namespace"])
    assert "given" not in vars(StandIn)


def test_a_huge_memo_index_takes_no_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}r\xff\xff\xff\x7f.")
    assert read_archive(tmp_path / "a.pt") == {}


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(1000)}, tmp_path / "a.pt")
    os.truncate(tmp_path / "a.pt", 3000)
    with pytest.raises(CheckpointError, match="is cut short"):
        read_archive(tmp_path / "a.pt")


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_a_value_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("changed") / "a.pt"
    torch.save({"a": torch.ones(3), "b": argparse.Namespace(c=[1, "x"])}, path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(bytes(data))
    before, said = dict(vars(StandIn)), path.name
    try:
        read_archive(path, ["argparse.Namespace"])
    except CheckpointError as error:
        said = str(error)
    assert path.name in said
    assert dict(vars(StandIn)) == before


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"torch 1\.6"):
        read_archive(tmp_path / "a.pt")
