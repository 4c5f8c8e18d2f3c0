"""Checkpoints of Megatron-LM as transformers has them, without megatron and without a copy on disk.

sources/megatron_files  what a file says: args, iteration, which tensors lie where
args                    the arguments, understood or refused
slots                   which tensors such a model has, and how ranks split them
pipeline                which layers each stage holds
legacy, dist            the two layouts: tensors of the whole model, by one naming
attention, gpt2, llama  what they are in transformers
reading                 all together
"""

from milepost.weights.megatron.reading import MegatronModel, megatron_config, read_megatron

__all__ = ["MegatronModel", "megatron_config", "read_megatron"]
