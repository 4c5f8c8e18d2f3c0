"""Recognise a checkpoint folder by names, sizes and the index of shards.

A folder on disk and one on the Hub are judged by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from milepost.sources.formats import FORMATS, Contents, Layout
from milepost.sources.formats.format import CONFIG, Unreadable
from milepost.sources.formats.peft.layout import ADAPTER_CONFIG

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "tekken.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.txt",
                 "tekken.json")  # fmt: skip
_READ_FILES = frozenset({CONFIG, "generation_config.json", ADAPTER_CONFIG, *TOKENIZER_FILES})
_SMALL_FILES = _READ_FILES | {"README.md", ".gitattributes"}
CHECKSUM_FILES = ("SHA256SUMS", ".sha256")
"""Names, or endings, of files with SHA-256 sums of other files."""
_UNFINISHED = re.compile(r"(?:^\.?tmp|\.(?:incomplete|tmp|part|partial|lock)$)")


def recognise(contents: Contents) -> Layout | None:
    """Return the layout of a folder; None if nothing in it looks like a checkpoint's weights."""
    try:
        found = (format.recognise(contents) for format in FORMATS)
        return next((layout for layout in found if layout is not None), None)
    except Unreadable as error:
        return Layout("unknown", problem=str(error))


def has_tokenizer(names: Collection[str]) -> bool:
    """Return True if the files can make a tokenizer (a `tokenizer_config.json` alone cannot)."""
    if any(name in names for name in _VOCABULARIES) or {"vocab.json", "merges.txt"} <= set(names):
        return True
    return any(name.endswith(".tiktoken") for name in names)


def is_read(name: str) -> bool:
    """Return True if a file of this name, besides the weights, is opened for an evaluation."""
    return name in _READ_FILES or "index" in name or name.endswith((".tiktoken", *CHECKSUM_FILES))


def looks_unfinished(files: Collection[str], folders: Collection[str]) -> bool:
    """Return True if a folder without weights looks like a save that has just begun."""
    return not folders and all(name in _SMALL_FILES or _UNFINISHED.search(name) for name in files)
