"""The number of tokens in a forward pass, from the free memory; a pack that is too large is halved later."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from milepost.engine.model_config import text_config

MAX_TOKENS = {"cpu": 2048, "cuda": 32_768, "mps": 8192}
"""More does not make the linear layers faster: on a GPU, at 500M parameters, each is at its peak from 8,192
rows on. On a CPU, 4096 made a 135M model slower (docs/log.md): the C library returns large freed blocks to
the system, and every page of the next one has to be mapped anew."""
OTHER_DEVICES = 4096
MIN_TOKENS = 128
SHARE_OF_FREE = 0.25
LINUX_MEMORY = Path("/proc/meminfo")
HIDDEN_COPIES, INTERMEDIATE_COPIES = 24, 4
"""Activations alive at once in a layer, in multiples of its widths; generous."""


def max_tokens(device: torch.device) -> int:
    """Return the most tokens per forward pass that pay on a device."""
    return MAX_TOKENS.get(device.type, OTHER_DEVICES)


def fitting_budget(module: torch.nn.Module) -> int:
    """Return tokens per forward pass: a power of two whose activations take a quarter of the free memory."""
    parameter = next(module.parameters())
    config = text_config(module)
    hidden = getattr(config, "hidden_size", 4096)
    intermediate = getattr(config, "intermediate_size", None) or 4 * hidden
    per_token = (HIDDEN_COPIES * hidden + INTERMEDIATE_COPIES * intermediate) * parameter.element_size()
    budget = max_tokens(parameter.device)
    while budget > MIN_TOKENS and budget * per_token > SHARE_OF_FREE * free_bytes(parameter.device):
        budget //= 2
    return budget


def halved_budget(budget_tokens: int, halvings: int) -> int:
    """Return the budget after so many halvings; never less than MIN_TOKENS by halving."""
    return max(min(budget_tokens, MIN_TOKENS), budget_tokens >> halvings)


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device; half of all memory if the system does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    if LINUX_MEMORY.exists():
        fields = dict(line.split(":", 1) for line in LINUX_MEMORY.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
