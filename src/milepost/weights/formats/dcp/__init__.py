"""Tensors of torch.distributed checkpoints (DCP), without the code that their pickles could hold."""

from milepost.weights.formats.dcp.reader import read_dcp_tensors

__all__ = ["read_dcp_tensors"]
