"""Read Megatron-LM checkpoints as transformers models, without Megatron-LM and without a copy on disk.

In the order of reading (`sources/formats/megatron/metadata.py` reads the settings in the files):

- args: the arguments, understood or refused
- tensor_specs: the tensors of such a model, and how ranks split them
- pipeline: the layers of each stage
- legacy, torch_dist: the two layouts; both give tensors of the whole model, under one naming
- attention, gpt2, llama: the tensors as transformers has them
- reader: all together
- tokenizer: the tokenizer that the args name
"""
