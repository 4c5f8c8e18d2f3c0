"""torch.distributed checkpoints (DCP): folder layout and `.metadata`."""
