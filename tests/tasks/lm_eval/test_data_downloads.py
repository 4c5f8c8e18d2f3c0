"""Data that datasets fetches from the Hub is counted, so that a person sees bytes, rate and time left."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from milepost.network.downloads import Transfer, downloads
from milepost.tasks.lm_eval.data_downloads import CHUNK_BYTES, counted_downloads

NAME = "data/validation-00000-of-00001.parquet"


def test_a_file_of_a_data_set_is_among_the_downloads_while_it_is_fetched(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int | None, int]] = []
    add = Transfer.add

    def noted(self: Transfer, n_bytes: int) -> None:
        add(self, n_bytes)
        seen.extend((one.what, one.total_bytes, one.n_bytes) for one in downloads())

    monkeypatch.setattr(Transfer, "add", noted)
    original = HfApi.hf_hub_download
    with counted_downloads():
        path = HfApi(endpoint=hub).hf_hub_download(
            repo_id="Rowan/hellaswag", repo_type="dataset", filename=NAME, cache_dir=tmp_path
        )
    size = Path(path).stat().st_size
    assert {(what, total) for what, total, _ in seen} == {(f"Rowan/hellaswag {NAME}", size)}
    assert seen[-1][2] == size
    assert len(seen) > size / CHUNK_BYTES, "often enough to tell the rate"
    assert downloads() == ()
    assert HfApi.hf_hub_download is original
