"""How many tokens a forward pass may have, from the memory that is free; too large a pack is halved later."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from milepost.engine.trial import text_config

MAX_TOKENS = {"cpu": 2048, "cuda": 32_768, "mps": 8192}
"""More does not make the linear layers faster. On a CPU, 4096 made a 135M model slower (docs/log.md): the C
library gives large freed blocks back to the system, and every page of the next one has to be mapped anew."""
MIN_TOKENS = 128
SHARE_OF_FREE = 0.25
LINUX_MEMORY = Path("/proc/meminfo")
HIDDEN_COPIES, INTERMEDIATE_COPIES = 24, 4
"""Activations alive at once in a layer, in multiples of its widths; generous."""


def fitting_budget(module: torch.nn.Module) -> int:
    """Tokens per forward pass: a power of two, such that activations take a quarter of what is free."""
    parameter = next(module.parameters())
    config = text_config(module)
    hidden = getattr(config, "hidden_size", 4096)
    intermediate = getattr(config, "intermediate_size", None) or 4 * hidden
    per_token = (HIDDEN_COPIES * hidden + INTERMEDIATE_COPIES * intermediate) * parameter.element_size()
    budget = MAX_TOKENS.get(parameter.device.type, 4096)
    while budget > MIN_TOKENS and budget * per_token > SHARE_OF_FREE * free_bytes(parameter.device):
        budget //= 2
    return budget


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device; where the system does not say, half of all there is."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    if LINUX_MEMORY.exists():
        fields = dict(line.split(":", 1) for line in LINUX_MEMORY.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
