"""A tokenizer that does not belong to the model is noticed before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import milepost


def test_a_token_id_beyond_the_model_is_an_error(
    hub: str, shared: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    other = shared / "hub" / "models" / "tiny" / "english-4m" / "main"
    with pytest.raises(milepost.TokenizerError, match="token id"):
        milepost.evaluate(tiny_llama, "arc_easy", output_path=tmp_path / "out", limit=2, tokenizer=str(other))
    assert not (tmp_path / "out").exists()
