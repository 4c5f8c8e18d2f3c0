"""Tensors of torch.distributed checkpoints (DCP), read without running their pickles."""
