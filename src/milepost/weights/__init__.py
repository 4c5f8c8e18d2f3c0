"""Load a checkpoint: config, tensors, tokenizer, and the one model in memory."""

from milepost.weights.checkpoint import read_checkpoint
from milepost.weights.checkpoint_weights import CheckpointWeights
from milepost.weights.config import ContextLength, context_length, read_config
from milepost.weights.formats.megatron.tokenizer import tokenizer_folder
from milepost.weights.formats.peft.base_model import Bases
from milepost.weights.formats.peft.merging import merged
from milepost.weights.formats.peft.vocabulary import rows_after_merging
from milepost.weights.generation_config import generation_defaults, read_generation_defaults
from milepost.weights.in_memory_files import HeldFiles
from milepost.weights.live_model import LiveModel, auto_dtype
from milepost.weights.tokenizer import files_id, load_tokenizer, tokenizer_id

__all__ = [
    "Bases",
    "CheckpointWeights",
    "ContextLength",
    "HeldFiles",
    "LiveModel",
    "auto_dtype",
    "context_length",
    "files_id",
    "generation_defaults",
    "load_tokenizer",
    "merged",
    "read_checkpoint",
    "read_config",
    "read_generation_defaults",
    "rows_after_merging",
    "tokenizer_folder",
    "tokenizer_id",
]
