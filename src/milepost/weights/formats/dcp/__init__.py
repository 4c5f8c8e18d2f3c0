"""Read tensors of torch.distributed checkpoints (DCP) without executing their pickles."""

from milepost.weights.formats.dcp.reader import read_dcp_tensors

__all__ = ["read_dcp_tensors"]
