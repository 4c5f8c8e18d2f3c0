"""Logits that trainers wrote beside their checkpoints, and those of the module that we make of these."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from milepost.sources import Overrides, discover, fetch, identify
from milepost.weights import Bases, LiveModel, read_checkpoint

TOLERANCE = 1e-5


def largest_differences(
    run: Path, reference: Path, cache: Path, given: Overrides | None = None
) -> dict[str, float]:
    """Largest |logit - reference| of every checkpoint, all through one module in float32, by name.

    Each is identified first and read against its hashes, as a run does.
    """
    expected = load_file(reference)
    bases = Bases()
    model: LiveModel | None = None
    differences = {}
    for checkpoint in discover(str(run), None, given or Overrides()).checkpoints:
        sums = {file.name: file.sha256 for file in identify(checkpoint, cache).files}
        base = bases.of(checkpoint.base, cache) if checkpoint.base else None
        weights = read_checkpoint(
            fetch(checkpoint), checkpoint.format, sums, config_file=checkpoint.config, base=base
        )
        if model is None:
            model = LiveModel.build(weights, dtype="float32")
        else:
            model.copy_from(weights)
        with torch.no_grad():
            logits = model.module(expected["input_ids"]).logits
        differences[checkpoint.name] = (logits - expected[f"logits/{checkpoint.name}"]).abs().max().item()
    return differences
