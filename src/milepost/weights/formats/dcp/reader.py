"""Read a language model from a DCP folder: a transformers module or torchtitan's Llama."""

from __future__ import annotations

from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.config_file import read_config_file
from milepost.sources.formats.dcp.layout import dcp_folder
from milepost.sources.formats.dcp.metadata import DcpMetadata, read_dcp_metadata
from milepost.text.messages import shown, some
from milepost.weights.formats.dcp.find_model import find_model
from milepost.weights.formats.dcp.tensors import read_dcp_tensors
from milepost.weights.formats.dcp.torchtitan import (
    EMBEDDING,
    as_llama,
    is_table,
    names_for_transformers,
    with_scaling,
)
from milepost.weights.meta_model import expected_tensors
from milepost.weights.reader import Reader, ReadRequest, ReadResult, check_tied


def read_dcp(request: ReadRequest) -> ReadResult:
    """Read the model's weights by transformers' names, without optimizer, scheduler and byte entries.

    Raises:
        CheckpointError: as `read_dcp_metadata`, `read_dcp_tensors`, `find_model` and `as_llama`.
    """
    request.check_hashes()
    folder = dcp_folder(request.folder)
    metadata = read_dcp_metadata(folder)
    if any(name == EMBEDDING or name.endswith(f".{EMBEDDING}") for name in metadata.tensors):
        return _torchtitan(request, folder, metadata)
    names = find_model(shown(folder), metadata.tensors, expected_tensors(request.folder, request.config))
    stored = read_dcp_tensors(folder, metadata, names.values())
    tensors = {name: stored[full] for name, full in names.items()}
    check_tied(folder, request.config, tensors)
    return ReadResult(
        tensors, {name: _file_of(request, folder, metadata, full) for name, full in names.items()}
    )


def _torchtitan(request: ReadRequest, folder: Path, metadata: DcpMetadata) -> ReadResult:
    where = shown(folder)
    known = {name for full in metadata.tensors for name in _ends(full) if names_for_transformers([name])}
    names = {
        name: full for name, full in find_model(where, metadata.tensors, known).items() if not is_table(name)
    }
    if strange := names.keys() - names_for_transformers(names).keys():
        raise CheckpointError(f"{where} has weights that torchtitan's Llama 3 does not have: {some(strange)}")
    config, remark = request.config, None
    if request.config_file is not None:
        config, remark = with_scaling(config, read_config_file(request.config_file))
    stored = read_dcp_tensors(folder, metadata, names.values())
    tensors = as_llama(where, config, {name: stored[full] for name, full in names.items()})
    check_tied(folder, config, tensors)
    file_of = {
        own: _file_of(request, folder, metadata, names[name])
        for name, own in names_for_transformers(names).items()
    }
    return ReadResult(tensors, file_of, config, (remark,) if remark else ())


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def _file_of(request: ReadRequest, folder: Path, metadata: DcpMetadata, name: str) -> str:
    """Return the file with the first piece of a tensor, for messages."""
    (first, *_) = metadata.files_of([name]) or (".metadata",)
    return str((folder / first).relative_to(request.folder))


READER = Reader(read_dcp)
