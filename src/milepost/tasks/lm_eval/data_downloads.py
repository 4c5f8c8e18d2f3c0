"""Count the bytes of data sets that are downloaded, so that a person sees how far they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from milepost.network.downloads import counting_bar_of_file

CHUNK_BYTES = 1 << 18
"""Bytes after which a file is counted; huggingface_hub's own 10 MiB are more than most tasks have."""


@contextmanager
def counted_downloads() -> Iterator[None]:
    """Put each file that datasets fetches from the Hub among the `downloads` while the block runs."""
    from huggingface_hub import HfApi, constants

    original, chunk_bytes = HfApi.hf_hub_download, constants.DOWNLOAD_CHUNK_SIZE

    def counted(self: HfApi, *args: Any, **options: Any) -> Any:
        repository = options.get("repo_id", "")
        bar = counting_bar_of_file(f"{repository} {options.get('filename', '')}".strip())
        return original(self, *args, **{"tqdm_class": bar, **options})

    HfApi.hf_hub_download = counted
    constants.DOWNLOAD_CHUNK_SIZE = min(chunk_bytes, CHUNK_BYTES)
    try:
        yield
    finally:
        HfApi.hf_hub_download, constants.DOWNLOAD_CHUNK_SIZE = original, chunk_bytes
