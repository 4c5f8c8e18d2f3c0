"""Where checkpoints come from: found, identified and made local. Knows files and the Hub, not tensors.

Imports neither torch nor huggingface_hub until a SOURCE needs them.
"""

from milepost.sources.discover import discover, discover_all
from milepost.sources.fetch import fetch, fetch_config, is_fetched
from milepost.sources.identity import FileDigest, Identity, identify
from milepost.sources.overrides import Given
from milepost.sources.steps import Steps
from milepost.sources.tokenizer import tokenizer_location

__all__ = [
    "FileDigest",
    "Given",
    "Identity",
    "Steps",
    "discover",
    "discover_all",
    "fetch",
    "fetch_config",
    "identify",
    "is_fetched",
    "tokenizer_location",
]
