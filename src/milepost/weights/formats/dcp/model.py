"""Read a language model from a DCP folder: a transformers model or torchtitan's Llama."""

from __future__ import annotations

from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.config_file import read_config_file
from milepost.sources.formats.dcp.layout import dcp_folder
from milepost.sources.formats.dcp.metadata import DcpMetadata, read_dcp_metadata
from milepost.sources.names import shown, some
from milepost.weights.formats.dcp.names import find_model
from milepost.weights.formats.dcp.reader import read_dcp_tensors
from milepost.weights.formats.dcp.torchtitan import (
    EMBEDDING,
    as_llama,
    is_table,
    names_for_transformers,
    with_scaling,
)
from milepost.weights.meta_model import expected_tensors
from milepost.weights.reader import Asked, Found, check_tied


def read_dcp(asked: Asked) -> Found:
    """The model's weights by transformers' names; optimizer, scheduler and byte entries are not read.

    Raises:
        CheckpointError: as `read_dcp_metadata`, `read_dcp_tensors`, `find_model` and `as_llama`.
    """
    asked.check_hashes()
    folder = dcp_folder(asked.folder)
    metadata = read_dcp_metadata(folder)
    if any(name == EMBEDDING or name.endswith(f".{EMBEDDING}") for name in metadata.tensors):
        return _torchtitan(asked, folder, metadata)
    names = find_model(shown(str(folder)), metadata.tensors, expected_tensors(asked.folder, asked.config))
    read = read_dcp_tensors(folder, metadata, names.values())
    tensors = {name: read[full] for name, full in names.items()}
    check_tied(folder, asked.config, tensors)
    return Found(tensors, {name: _file_of(asked, folder, metadata, full) for name, full in names.items()})


def _torchtitan(asked: Asked, folder: Path, metadata: DcpMetadata) -> Found:
    where = shown(str(folder))
    known = {name for full in metadata.tensors for name in _ends(full) if names_for_transformers([name])}
    names = {
        name: full for name, full in find_model(where, metadata.tensors, known).items() if not is_table(name)
    }
    if strange := names.keys() - names_for_transformers(names).keys():
        raise CheckpointError(f"{where} holds weights that torchtitan's Llama 3 has not: {some(strange)}")
    config, remark = asked.config, None
    if asked.config_file is not None:
        config, remark = with_scaling(config, read_config_file(asked.config_file))
    read = read_dcp_tensors(folder, metadata, names.values())
    tensors = as_llama(where, config, {name: read[full] for name, full in names.items()})
    check_tied(folder, config, tensors)
    file_of = {
        own: _file_of(asked, folder, metadata, names[name])
        for name, own in names_for_transformers(names).items()
    }
    return Found(tensors, file_of, config, (remark,) if remark else ())


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def _file_of(asked: Asked, folder: Path, metadata: DcpMetadata, name: str) -> str:
    """The file with the first piece of a tensor, for messages."""
    (first, *_) = metadata.files_of([name]) or (".metadata",)
    return str((folder / first).relative_to(asked.folder))
