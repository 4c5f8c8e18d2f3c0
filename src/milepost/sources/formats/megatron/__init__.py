"""Megatron-LM checkpoints: folder layout and the files of each rank."""
