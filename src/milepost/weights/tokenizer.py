"""Load a tokenizer as lm_eval does, and compute its identity from its behaviour."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from milepost import fastjson
from milepost.errors import TokenizerError
from milepost.sources.names import first_line, shown
from milepost.sources.regular_files import read_regular
from milepost.weights.tokenizer_bounds import check_tokenizer_files
from milepost.weights.tokenizer_growth import check_growth

_HINT = "pass --tokenizer PATH (a folder, or a repository such as hf://org/name)"
_FLAGS = ("add_bos_token", "add_eos_token", "add_prefix_space", "legacy", "clean_up_tokenization_spaces")

_OTHER_ENDS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp", ".npz", ".h5", ".msgpack", ".onnx", ".gguf",
    ".index.json", ".md", ".metadata",
)  # fmt: skip
_OTHER_FILES = frozenset(
    {"trainer_state.json", "generation_config.json", "adapter_config.json", "SHA256SUMS"}
)

_FORMS = (
    ("*.tiktoken", ("tiktoken",), "tiktoken"),
    ("*.model", ("sentencepiece", "google.protobuf"), "'milepost[sentencepiece]'"),
)
"""Files of tokenizers that transformers reads with other packages, and how to install these."""

_LARGEST_FILE = 100 * 2**20
"""Bytes; a larger one is no tokenizer's, and is not read to find that out."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a local folder, loaded as lm_eval's hf model does (models/huggingface.py).

    Raises:
        TokenizerError: the files make no tokenizer, need code of their own, or make endless text of a
            short one.
    """
    check_tokenizer_files(folder, _HINT)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # each tokenizer class fails on bad files in its own way
        if lacking := _lacking_package(folder):
            raise lacking from error
        raise TokenizerError(
            f"the tokenizer in {shown(str(folder))} does not load: {first_line(error)}", _HINT
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise TokenizerError(f"there is no tokenizer in {shown(str(folder))}", _HINT)
    check_growth(tokenizer, shown(str(folder)))
    return tokenizer


def _lacking_package(folder: Path) -> TokenizerError | None:
    """The error of a tokenizer that is there in a form only which a package that is not installed reads."""
    if (folder / "tokenizer.json").exists():
        return None
    for pattern, packages, extra in _FORMS:
        lacking = [name for name in packages if find_spec(name) is None]
        found = next(iter(sorted(folder.glob(pattern))), None)
        if found is not None and lacking:
            return TokenizerError(
                f"{shown(str(found))} is read by the package {lacking[0]}, which is not installed",
                f"pip install {extra}, or pass a tokenizer with a tokenizer.json: --tokenizer PATH",
            )
    return None


def files_id(folder: Path) -> str:
    """64 hex digits; equal only where two folders give the same tokenizer, told without loading either.

    Of every file but those that surely have no part in it, since each tokenizer class reads its own.
    """
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*"), *folder.glob("*_chat_templates/*"))):
        if path.is_file() and path.name not in _OTHER_FILES and not path.name.endswith(_OTHER_ENDS):
            digest.update(f"{path.relative_to(folder).as_posix()!r} {_content(path)}\n".encode())
    return digest.hexdigest()


def _content(path: Path) -> str:
    """Equal for equal content; of a file that is not read, its own path, which no other has."""
    try:
        return hashlib.sha256(read_regular(path, _LARGEST_FILE)).hexdigest()
    except OSError:
        return str(path)  # loading the tokenizer says what is wrong with it, if it is wanted


def tokenizer_id(tokenizer: PreTrainedTokenizerBase) -> str:
    """64 hex digits; equal where two tokenizers turn every text and chat into the same token ids."""
    told: dict[str, Any] = {
        "class": type(tokenizer).__name__,
        "special": {key: str(value) for key, value in tokenizer.special_tokens_map.items()},
        "flags": {flag: getattr(tokenizer, flag, None) for flag in _FLAGS},
        "chat_template": tokenizer.chat_template,
        "max_length": tokenizer.model_max_length,
        "encoder": _encoder(tokenizer),
    }
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Any:
    """Everything from text to ids: the fast backend tells it itself; else vocabulary and added tokens.

    The backend's truncation and padding are left out, because encoding a batch sets them.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        spec = fastjson.loads(backend.to_str())
        return {key: value for key, value in spec.items() if key not in {"truncation", "padding"}}
    added = {index: repr(token) for index, token in tokenizer.added_tokens_decoder.items()}
    return {"vocabulary": tokenizer.get_vocab(), "added": added}
