"""Compute the metrics of scored checkpoints and finish with them."""
