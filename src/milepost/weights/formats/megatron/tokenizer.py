"""Find the tokenizer that the training run's args name (megatron/training/tokenizer/tokenizer.py).

The args have paths of the machine that trained. A file is searched at its path, then by its name in the
checkpoint's folder and in the one above. transformers needs a folder, so single files are copied into one in
the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tokenizers import normalizers

from milepost.errors import CheckpointError, MilepostError, TokenizerError
from milepost.files.cache import cache_folder, write_cache_file
from milepost.sources import fetch_config, tokenizer_location
from milepost.sources.formats.megatron.layout import MEGATRON_FORMATS
from milepost.sources.formats.megatron.metadata import Settings, read_settings
from milepost.sources.regular_files import read_regular
from milepost.sources.tokenizer import TOKENIZER_HINT
from milepost.text.messages import first_line, shown
from milepost.types.checkpoints import Checkpoint
from milepost.weights.tokenizer import load_tokenizer

_MAX_BYTES = 100 * 2**20
_SPACES = normalizers.Replace(" ", "▁")
_PROBES = (
    "A first line.\n\tAnd a second,  indented one: 1,024 × 0.5 = 512?",
    "naïve café — 北京 🙂",
    " space",
)


def tokenizer_folder(checkpoint: Checkpoint, override: str | None = None) -> Path:
    """Return the tokenizer's folder: the usual places first, then the one in Megatron's args.

    Raises:
        TokenizerError: no tokenizer was found.
    """
    try:
        return tokenizer_location(checkpoint, override)
    except TokenizerError:
        if override is not None or checkpoint.format not in MEGATRON_FORMATS:
            raise
    return tokenizer_of_args(checkpoint)


def tokenizer_of_args(checkpoint: Checkpoint) -> Path:
    """Return a folder with the tokenizer that a Megatron-LM checkpoint's args name.

    Raises:
        TokenizerError: the args name no tokenizer, its files are missing, or transformers has no equivalent.
    """
    try:
        settings = read_settings(fetch_config(checkpoint))
    except CheckpointError as error:
        raise TokenizerError(error.message, error.hint) from error
    kind = settings.args.get("tokenizer_type")
    make = _MAKERS.get(str(kind))
    if make is None:
        raise TokenizerError(
            f"{shown(checkpoint.source)} has no tokenizer, and was trained with a {shown(kind)}",
            TOKENIZER_HINT,
        )
    return make(checkpoint, settings)


def _huggingface(checkpoint: Checkpoint, settings: Settings) -> Path:
    named = _named(settings, "tokenizer_model")
    found = _find(settings, named)
    try:
        return tokenizer_location(checkpoint, named if found is None else str(found))
    except MilepostError as error:
        raise TokenizerError(
            f"the tokenizer in its args, {shown(named)}: {error.message}", TOKENIZER_HINT
        ) from error


def _gpt2(checkpoint: Checkpoint, settings: Settings) -> Path:
    return _write_to_cache(
        {
            "vocab.json": _bytes_of(settings, "vocab_file"),
            "merges.txt": _bytes_of(settings, "merge_file"),
            "tokenizer_config.json": _config("GPT2Tokenizer"),
        }
    )


def _llama2(checkpoint: Checkpoint, settings: Settings) -> Path:
    return _sentencepiece(settings, add_bos_token=True)


def _plain_sentencepiece(checkpoint: Checkpoint, settings: Settings) -> Path:
    return _sentencepiece(settings, add_bos_token=False)


_MAKERS: Mapping[str, Callable[[Checkpoint, Settings], Path]] = {
    "HuggingFaceTokenizer": _huggingface,
    "GPT2BPETokenizer": _gpt2,
    "Llama2Tokenizer": _llama2,
    "SentencePieceTokenizer": _plain_sentencepiece,
    "GPTSentencePieceTokenizer": _plain_sentencepiece,
}


def _sentencepiece(settings: Settings, *, add_bos_token: bool) -> Path:
    """Return the model as a fast tokenizer, after a check that it gives the same ids as sentencepiece."""
    named, model = _named(settings, "tokenizer_model"), _bytes_of(settings, "tokenizer_model")
    try:
        import sentencepiece
    except ImportError as error:
        raise TokenizerError(
            "a sentencepiece model needs the package sentencepiece",
            "pip install 'milepost[sentencepiece]', or pass --tokenizer PATH",
        ) from error
    config = _config("LlamaTokenizer", add_bos_token=add_bos_token)
    llama = load_tokenizer(_write_to_cache({"tokenizer.model": model, "tokenizer_config.json": config}))
    try:
        expected = sentencepiece.SentencePieceProcessor(model_proto=model).encode(list(_PROBES))
    except Exception as error:  # it raises almost anything on bytes that are not a model
        raise TokenizerError(
            f"{shown(named)} is not a sentencepiece model: {first_line(error)}", TOKENIZER_HINT
        ) from error
    special = {key: str(value) for key, value in llama.special_tokens_map.items()}
    for spaces in (normalizers.Sequence([normalizers.Prepend("▁"), _SPACES]), _SPACES):
        # sentencepiece adds a space also to a text that begins with one; transformers' Llama does not.
        backend = llama.backend_tokenizer
        backend.normalizer, backend.pre_tokenizer = spaces, None
        own_config = _config("PreTrainedTokenizerFast", **special)
        folder = _write_to_cache(
            {"tokenizer.json": backend.to_str().encode(), "tokenizer_config.json": own_config}
        )
        if load_tokenizer(folder)(list(_PROBES), add_special_tokens=False).input_ids == expected:
            return folder
    raise TokenizerError(
        f"{shown(named)} splits text unlike any tokenizer of transformers",
        "pass a converted one: --tokenizer PATH",
    )


def _bytes_of(settings: Settings, argument: str) -> bytes:
    named = _named(settings, argument)
    found = _find(settings, named)
    if found is None or not found.is_file():
        raise TokenizerError(f"the {argument} in its args was not found: {shown(named)}", TOKENIZER_HINT)
    try:
        return read_regular(found, _MAX_BYTES)
    except OSError as error:
        raise TokenizerError(f"{shown(found)} cannot be read: {error.strerror}", TOKENIZER_HINT) from error


def _named(settings: Settings, argument: str) -> str:
    named = settings.args.get(argument)
    if not isinstance(named, str) or not named:
        raise TokenizerError(f"{shown(settings.path)}: its args have no {argument}", TOKENIZER_HINT)
    return named


def _find(settings: Settings, named: str) -> Path | None:
    """Return the file or folder of this name: at its path, beside the checkpoint, or above it."""
    path = Path(named)
    beside = [folder / path.name for folder in settings.path.parents[:3] if path.name]
    try:
        return next((place for place in (path, *beside) if place.exists()), None)
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{shown(named)} is not a valid path: {error}", TOKENIZER_HINT) from error


def _config(tokenizer_class: str, **more: bool | str) -> bytes:
    return json.dumps({"tokenizer_class": tokenizer_class, **more}).encode()


def _write_to_cache(files: Mapping[str, bytes]) -> Path:
    """Return a folder of the cache with exactly these files, named after their hash."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    folder = cache_folder() / "tokenizers" / digest.hexdigest()[:32]
    for name, data in files.items():
        if not (folder / name).is_file():
            write_cache_file(folder / name, data)
        if not (folder / name).is_file():
            raise TokenizerError(f"cannot write the tokenizer to the cache, {shown(folder)}", TOKENIZER_HINT)
    return folder
