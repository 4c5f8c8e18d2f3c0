"""Read Megatron-LM checkpoints as transformers models, without Megatron-LM and without a copy on disk.

In the order in which one is read (what its files say stands in `sources/megatron_files`):

- args: the arguments, understood or refused
- slots: which tensors such a model has, and how ranks split them
- pipeline: which layers each stage holds
- legacy, dist: the two layouts; tensors of the whole model, by one naming
- attention, gpt2, llama: what they are in transformers
- reading: all together
- tokenizer: the one that the args name
"""

from milepost.weights.formats.megatron.reader import megatron_config, read_megatron
from milepost.weights.formats.megatron.tokenizer import tokenizer_folder

__all__ = ["megatron_config", "read_megatron", "tokenizer_folder"]
