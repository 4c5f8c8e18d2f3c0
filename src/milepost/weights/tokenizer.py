"""Load a tokenizer as lm_eval does, and compute its identity from its behaviour."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from milepost.errors import TokenizerError
from milepost.files import fastjson
from milepost.sources.regular_files import read_regular
from milepost.sources.tokenizer import TOKENIZER_HINT
from milepost.text.language import Phrase
from milepost.text.messages import first_line, shown
from milepost.weights.tokenizer_bounds import check_tokenizer_files
from milepost.weights.tokenizer_growth import check_growth

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
"""Tokenizer files that transformers reads with other packages, and how to install these."""

_LARGEST_FILE = 100 * 2**20
"""Bytes; a larger file is not part of a tokenizer and is not read."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer in a local folder as lm_eval's hf model does (models/huggingface.py).

    Raises:
        TokenizerError: the files are not a tokenizer, need code of their own, make endless text of a short
            one, or have settings with which it encodes nothing.
    """
    check_tokenizer_files(folder, TOKENIZER_HINT)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # each tokenizer class raises other errors for bad files
        if missing := _missing_package(folder):
            raise missing from error
        raise TokenizerError(
            Phrase(
                "the tokenizer in {folder} does not load: {error}",
                folder=shown(folder),
                error=first_line(error),
            ),
            TOKENIZER_HINT,
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise TokenizerError(
            Phrase("there is no tokenizer in {folder}", folder=shown(folder)), TOKENIZER_HINT
        )
    _check_use(tokenizer, folder)
    check_growth(tokenizer, shown(folder))
    return tokenizer


def _check_use(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Refuse a tokenizer that raises on every text: transformers takes any value for most settings."""
    try:
        tokenizer.decode(tokenizer("a b")["input_ids"])
    except Exception as error:  # each tokenizer class raises other errors for bad settings
        raise TokenizerError(
            Phrase(
                "the tokenizer in {folder} cannot encode a text: {error}",
                folder=shown(folder),
                error=first_line(error),
            ),
            TOKENIZER_HINT,
        ) from error


def _missing_package(folder: Path) -> TokenizerError | None:
    """Return the error for a tokenizer that can only be read with a package that is not installed."""
    if (folder / "tokenizer.json").exists():
        return None
    for pattern, packages, extra in _FORMS:
        missing = [name for name in packages if find_spec(name) is None]
        found = next(iter(sorted(folder.glob(pattern))), None)
        if found is not None and missing:
            return TokenizerError(
                Phrase(
                    "{found} is read by the package {missing}, which is not installed",
                    found=shown(found),
                    missing=missing[0],
                ),
                Phrase(
                    "pip install {extra}, or pass a tokenizer with a tokenizer.json: --tokenizer PATH",
                    extra=extra,
                ),
            )
    return None


def files_id(folder: Path) -> str:
    """Return 64 hex digits that are equal only for folders with the same tokenizer, without loading it.

    The hash covers every file that may be part of a tokenizer, since each class reads its own files.
    """
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*"), *folder.glob("*_chat_templates/*"))):
        if path.is_file() and path.name not in _OTHER_FILES and not path.name.endswith(_OTHER_ENDS):
            digest.update(f"{path.relative_to(folder).as_posix()!r} {_content(path)}\n".encode())
    return digest.hexdigest()


def _content(path: Path) -> str:
    """Return a hash of the content, or the unique path of a file that is not read."""
    try:
        return hashlib.sha256(read_regular(path, _LARGEST_FILE)).hexdigest()
    except OSError:
        return str(path)  # loading the tokenizer raises the error, if it is used


def tokenizer_id(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return 64 hex digits, equal for tokenizers that turn every text and chat into the same token ids."""
    settings: dict[str, Any] = {
        "class": type(tokenizer).__name__,
        "special": {key: str(value) for key, value in tokenizer.special_tokens_map.items()},
        "flags": {flag: getattr(tokenizer, flag, None) for flag in _FLAGS},
        "chat_template": tokenizer.chat_template,
        "max_length": tokenizer.model_max_length,
        "encoder": _encoder(tokenizer),
    }
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Any:
    """Return all settings from text to ids: the fast backend's, or vocabulary and added tokens.

    The backend's truncation and padding are left out, because encoding a batch sets them.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        spec = fastjson.loads(backend.to_str())
        return {key: value for key, value in spec.items() if key not in {"truncation", "padding"}}
    added = {index: repr(token) for index, token in tokenizer.added_tokens_decoder.items()}
    return {"vocabulary": tokenizer.get_vocab(), "added": added}
