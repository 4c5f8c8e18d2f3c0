"""Find, identify and download checkpoints, on disk and on the Hugging Face Hub, without reading tensors.

Neither torch nor huggingface_hub is imported until a SOURCE needs it.
"""

from milepost.sources.discover import discover, discover_all
from milepost.sources.fetch import fetch, fetch_config, is_fetched
from milepost.sources.hub.listing import other_branches
from milepost.sources.identity import FileDigest, Identity, identify
from milepost.sources.overrides import Overrides
from milepost.sources.steps import Steps
from milepost.sources.tokenizer import tokenizer_location

__all__ = [
    "FileDigest",
    "Identity",
    "Overrides",
    "Steps",
    "discover",
    "discover_all",
    "fetch",
    "fetch_config",
    "identify",
    "is_fetched",
    "other_branches",
    "tokenizer_location",
]
