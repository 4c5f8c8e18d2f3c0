"""Generation defaults of a model's own file; one that cannot be meant is refused, not followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from milepost.errors import CheckpointError
from milepost.weights.generation_config import FILE, read_generation_defaults


def stop_tokens(folder: Path, eos: Any) -> tuple[int, ...]:
    (folder / "config.json").write_text("{}")
    (folder / FILE).write_text(json.dumps({"eos_token_id": eos}))
    return read_generation_defaults(folder, LlamaConfig()).stop_tokens


@pytest.mark.parametrize(("eos", "wanted"), [(7, (7,)), ([7, 8], (7, 8)), (None, ())])
def test_a_token_or_several_end_a_text(tmp_path: Path, eos: Any, wanted: tuple[int, ...]) -> None:
    assert stop_tokens(tmp_path, eos) == wanted


@pytest.mark.parametrize("eos", [1.5, "</s>", [[1]], ["x"], {"a": 1}])
def test_what_is_no_number_of_a_token_is_refused(tmp_path: Path, eos: Any) -> None:
    with pytest.raises(CheckpointError, match="is not usable"):
        stop_tokens(tmp_path, eos)
