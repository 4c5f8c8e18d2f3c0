"""Tensors of DeepSpeed ZeRO checkpoints."""
