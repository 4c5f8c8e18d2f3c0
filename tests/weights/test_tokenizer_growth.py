"""A tokenizer that makes endless text of a short one is refused before it is given any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import TokenizerError
from milepost.weights import load_tokenizer
from milepost.weights.tokenizer_growth import growth


def replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def saved(tiny_llama: Path, folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (folder / name).write_bytes((tiny_llama / name).read_bytes())
    described = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(described | changes))
    return folder


START = {"SpecialToken": {"id": "<s>", "type_id": 0}}
EXPLODING: dict[str, dict[str, Any]] = {
    "one step": {"normalizer": replace("a", "a" * 1000)},
    "many steps": {"normalizer": {"type": "Sequence", "normalizers": [replace("a", "aa")] * 60}},
    "long prefix": {"normalizer": {"type": "Prepend", "prepend": "x" * 50_000}},
    "prefix that grows": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "a" * 900}, replace("a", "a" * 90)],
        }
    },
    "special tokens": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*[START] * 5000, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", EXPLODING.values(), ids=EXPLODING)
def test_a_tokenizer_that_explodes_is_refused(
    tiny_llama: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(TokenizerError, match=r"characters of one|tokens around each text"):
        load_tokenizer(saved(tiny_llama, tmp_path / "t", **changes))


def test_what_real_tokenizers_do_is_no_growth(tiny_llama: Path, tmp_path: Path) -> None:
    llama_2 = {
        "type": "Sequence",
        "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁"), {"type": "NFKC"}],
    }
    assert growth(llama_2) == (1.0, 1.0)
    load_tokenizer(saved(tiny_llama, tmp_path / "t", normalizer=llama_2))
