"""Tensors of torch.distributed checkpoints: read as they were saved, without running a pickle's code."""

from __future__ import annotations

import pathlib
import pickle
import resource
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex

from milepost.sources.formats.dcp.metadata import read_dcp_metadata
from milepost.weights.formats.dcp.tensors import read_dcp_tensors
from tests.sources.folders import refusal_of
from tests.weights.hostile import Command, assert_armed, bomb

SAVED = {
    "app": {
        "model": {
            "a.weight": torch.arange(12.0).reshape(3, 4),
            "b": torch.arange(5, dtype=torch.bfloat16),
            "scalar": torch.tensor(7),
        },
        "optim": {"exp_avg": torch.zeros(1000)},
    },
    "step": {"n": 5, "words": ["byte", "entries"]},
}


pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """A checkpoint of a few tensors and two byte entries."""
    dcp.save(SAVED, checkpoint_id=tmp_path / "step-5", no_dist=True)
    return tmp_path / "step-5"


def refused(work: Any) -> Any:
    """The words of the refusal."""
    return refusal_of(work).message


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rewrite(folder: Path, metadata: object) -> None:
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def edited(folder: Path) -> Metadata:
    """The metadata as torch reads them, to be changed and written back."""
    return FileSystemReader(folder).read_metadata()


def test_names_shapes_and_dtypes_are_known_without_reading_tensors(folder: Path) -> None:
    (folder / "__0_0.distcp").unlink()
    metadata = read_dcp_metadata(folder)
    assert {name: (one.shape, one.dtype) for name, one in metadata.tensors.items()} == {
        "app.model.a.weight": ((3, 4), "float32"),
        "app.model.b": ((5,), "bfloat16"),
        "app.model.scalar": ((), "int64"),
        "app.optim.exp_avg": ((1000,), "float32"),
    }
    assert metadata.tensors["app.model.b"].n_bytes == 10


def test_tensors_are_what_was_saved(folder: Path) -> None:
    names = ["app.model.a.weight", "app.model.b", "app.model.scalar"]
    tensors = read_dcp_tensors(folder, read_dcp_metadata(folder), names)
    for name, (key, saved) in zip(names, SAVED["app"]["model"].items(), strict=True):
        assert name.endswith(key)
        assert tensors[name].dtype == saved.dtype
        assert torch.equal(tensors[name], saved)


def test_pieces_of_several_ranks_are_joined(shared: Path) -> None:
    folder = shared / "checkpoints/dcp/dcp_fsdp2_hf_llama/step-40"
    metadata = read_dcp_metadata(folder)
    names = [name for name in metadata.tensors if name.startswith("app.model.")]
    expected = {name: torch.empty(metadata.tensors[name].shape) for name in names}
    dcp.load(expected, storage_reader=FileSystemReader(folder), no_dist=True)
    tensors = read_dcp_tensors(folder, metadata, names)
    assert len(metadata.tensors[names[0]].pieces) == 2
    assert all(torch.equal(tensors[name], expected[name]) for name in names)


def test_a_name_that_is_not_there_is_told(folder: Path) -> None:
    metadata = read_dcp_metadata(folder)
    assert "lacks app.model.c" in refused(lambda: read_dcp_tensors(folder, metadata, ["app.model.c"]))


def test_code_in_the_metadata_is_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert_armed(bomb(mark), mark)
    (folder / ".metadata").write_bytes(bomb(mark))
    refusal = refused(lambda: read_dcp_metadata(folder))
    assert "asks to run code (posix.system)" in refusal
    assert ".metadata" in refusal
    assert not mark.exists()


def test_code_hidden_among_true_metadata_is_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    metadata = edited(folder)
    metadata.planner_data = {"app.model.b": Command(mark)}
    rewrite(folder, metadata)
    assert "posix.system" in refused(lambda: read_dcp_metadata(folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    "stranger",
    [
        OrderedDict(a=1),
        print,
        getattr,
        torch.nn.Linear(1, 1),
        torch.load,
        pathlib.Path,
        torch.distributed.checkpoint.metadata.STATE_DICT_TYPE,
    ],
)
def test_every_name_outside_the_list_is_refused_by_name(folder: Path, stranger: Any) -> None:
    metadata = edited(folder)
    metadata.planner_data = {"app.model.b": stranger}
    rewrite(folder, metadata)
    assert "asks to run code (" in refused(lambda: read_dcp_metadata(folder))


def test_a_pickle_cannot_change_the_classes_it_names(folder: Path) -> None:
    """`BUILD` on a class would set attributes of torch's own class, for every checkpoint read after it."""
    attack = b"\x80\x04ctorch.distributed.checkpoint.metadata\nMetadata\nN}X\x04\x00\x00\x00evilK\x01s\x86b."
    pickle.loads(attack)
    assert Metadata.evil == 1
    del Metadata.evil
    (folder / ".metadata").write_bytes(attack)
    assert "damaged" in refused(lambda: read_dcp_metadata(folder))
    assert not hasattr(Metadata, "evil")


def test_an_index_that_calls_for_all_memory_takes_none(folder: Path) -> None:
    (folder / ".metadata").write_bytes(b"\x80\x04Nr\xff\xff\xff\x7f.")
    before = peak_bytes()
    assert "is not what torch" in refused(lambda: read_dcp_metadata(folder))
    assert peak_bytes() - before < 100_000_000


def test_metadata_that_change_are_read_anew(folder: Path) -> None:
    assert len(read_dcp_metadata(folder).tensors) == 4
    metadata = edited(folder)
    del metadata.state_dict_metadata["app.model.b"]
    rewrite(folder, metadata)
    assert len(read_dcp_metadata(folder).tensors) == 3


def test_byte_entries_are_never_unpickled(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    metadata = read_dcp_metadata(folder)
    assert not any("step" in name for name in metadata.tensors)
    state = {"model": {"w": torch.ones(2)}, "extra": Command(mark)}
    dcp.save(state, checkpoint_id=tmp_path / "armed", no_dist=True)
    tensors = read_dcp_tensors(tmp_path / "armed", read_dcp_metadata(tmp_path / "armed"), ["model.w"])
    assert torch.equal(tensors["model.w"], torch.ones(2))
    assert not mark.exists()
    dcp.load({"extra": None}, checkpoint_id=tmp_path / "armed", no_dist=True)
    assert mark.exists()  # as torch's own reader shows, it was armed


def test_code_in_place_of_a_tensor_is_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    dcp.save({"w": Command(mark)}, checkpoint_id=tmp_path / "bytes", no_dist=True)
    dcp.save({"w": torch.ones(2)}, checkpoint_id=tmp_path / "tensor", no_dist=True)
    entry = next(iter(edited(tmp_path / "bytes").storage_data.values()))
    metadata = edited(tmp_path / "tensor")
    for place in metadata.storage_data.values():
        place.length = entry.length
    rewrite(tmp_path / "tensor", metadata)
    (tmp_path / "tensor/__0_0.distcp").write_bytes((tmp_path / "bytes/__0_0.distcp").read_bytes())
    known = read_dcp_metadata(tmp_path / "tensor")
    refusal = refused(lambda: read_dcp_tensors(tmp_path / "tensor", known, ["w"]))
    assert "__0_0.distcp cannot be read: it asks to run code or is damaged" in refusal
    assert not mark.exists()


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "__0_0.distcp").unlink()
    known = read_dcp_metadata(folder)
    assert "missing: __0_0.distcp" in refused(lambda: read_dcp_tensors(folder, known, ["app.model.b"]))


def test_a_file_cut_short_is_named(folder: Path) -> None:
    file = folder / "__0_0.distcp"
    file.write_bytes(file.read_bytes()[:-1])
    known = read_dcp_metadata(folder)
    assert "__0_0.distcp is cut short" in refused(lambda: read_dcp_tensors(folder, known, ["app.model.b"]))


def test_bytes_that_are_no_tensor_are_named(folder: Path) -> None:
    file = folder / "__0_0.distcp"
    file.write_bytes(bytes(len(file.read_bytes())))
    known = read_dcp_metadata(folder)
    assert "__0_0.distcp cannot be read" in refused(lambda: read_dcp_tensors(folder, known, ["app.model.b"]))


@pytest.mark.parametrize("data", [b"", b"\x80", b"no pickle", pickle.dumps({"a": 1}), pickle.dumps([[]])])
def test_metadata_that_are_none_are_named(folder: Path, data: Any) -> None:
    (folder / ".metadata").write_bytes(data)
    assert ".metadata is" in refused(lambda: read_dcp_metadata(folder))


def test_a_path_out_of_the_folder_is_refused(folder: Path) -> None:
    metadata = edited(folder)
    for place in metadata.storage_data.values():
        place.relative_path = "../../secret"
    rewrite(folder, metadata)
    assert "outside the folder: ../../secret" in refused(lambda: read_dcp_metadata(folder))


@pytest.mark.parametrize(
    ("size", "problem"),
    [((3, 5), "leave a gap"), ((2, 4), "reach beyond its shape"), ((3,), "no place in it")],
)
def test_pieces_that_do_not_make_up_the_shape_are_refused(folder: Path, size: Any, problem: str) -> None:
    metadata = edited(folder)
    metadata.state_dict_metadata["app.model.a.weight"].size = torch.Size(size)
    rewrite(folder, metadata)
    refusal = refused(lambda: read_dcp_tensors(folder, read_dcp_metadata(folder), ["app.model.a.weight"]))
    assert problem in refusal
    assert "app.model.a.weight" in refusal


def test_a_shape_beyond_the_files_takes_no_memory(folder: Path) -> None:
    metadata = edited(folder)
    entry = metadata.state_dict_metadata["app.model.b"]
    entry.size = entry.chunks[0].sizes = torch.Size([2**45])
    rewrite(folder, metadata)
    known = read_dcp_metadata(folder)
    refusal = refused(lambda: read_dcp_tensors(folder, known, ["app.model.b"]))
    assert "app.model.b is larger than its piece in __0_0.distcp" in refusal


def test_many_tensors_of_the_same_bytes_take_no_memory(folder: Path) -> None:
    metadata = edited(folder)
    place = next(place for index, place in metadata.storage_data.items() if index.fqn.endswith("exp_avg"))
    entry = metadata.state_dict_metadata["app.optim.exp_avg"]
    for i in range(20):
        metadata.state_dict_metadata[f"w{i}"] = entry
        metadata.storage_data[MetadataIndex(f"w{i}", torch.Size([0]))] = place
    rewrite(folder, metadata)
    known = read_dcp_metadata(folder)
    refusal = refused(lambda: read_dcp_tensors(folder, known, [f"w{i}" for i in range(20)]))
    assert "describes more than its files contain" in refusal


@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    half=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_damage_to_the_metadata_is_an_error_for_people_or_none(
    tmp_path_factory: pytest.TempPathFactory, damage: Any, half: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    if not folder.exists():
        dcp.save(SAVED, checkpoint_id=folder, no_dist=True)
        (folder / ".metadata").rename(folder / "whole")
    content = bytearray((folder / "whole").read_bytes())
    for place, value in damage:
        content[int(place * (len(content) - 1))] = value
    (folder / ".metadata").write_bytes(bytes(content[: len(content) // (1 + half)]))

    def read() -> None:
        known = read_dcp_metadata(folder)
        read_dcp_tensors(folder, known, [name for name in known.tensors if "model" in name])

    refusal = refusal_of(read)
    assert refusal is None or str(folder) in refusal.message


def test_pieces_that_overlap_are_refused(folder: Path) -> None:
    metadata = edited(folder)
    entry = metadata.state_dict_metadata["app.model.a.weight"]
    entry.chunks = [entry.chunks[0], entry.chunks[0]]
    rewrite(folder, metadata)
    refusal = refused(lambda: read_dcp_tensors(folder, read_dcp_metadata(folder), ["app.model.a.weight"]))
    assert "overlap" in refusal
