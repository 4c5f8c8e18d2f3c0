"""DeepSpeed ZeRO checkpoints: folder layout and the state files."""
