"""A causal LM taken apart into its body (tokens to hidden states) and its head (hidden states to logits).

Most positions of a request need no logits, and the head is a large part of a small model. The head is
still the model's own forward, with the body replaced for that call by one that hands back the hidden states
we give: so logit scaling, soft-capping and casts happen as the model's authors wrote them. A model that
cannot be taken apart this way stays whole: its "hidden states" are then its logits and its head does nothing.
"""

from __future__ import annotations

from typing import Any

import torch


class SplitModel:
    """Body and head of a transformers causal LM, and whether it could be taken apart (`is_split`)."""

    def __init__(self, module: torch.nn.Module, *, split: bool = True) -> None:
        self.module = module
        self._body = _find_body(module) if split else None
        self._output_type: type[Any] | None = None

    @property
    def is_split(self) -> bool:
        return self._body is not None

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def hidden(self, input_ids_BT: torch.Tensor, **arguments: Any) -> torch.Tensor:
        """Final hidden states [B, T, D] (the logits [B, T, V] of a model that stays whole)."""
        if self._body is None:
            logits_BTV: torch.Tensor = self.module(input_ids_BT, use_cache=False, **arguments).logits
            return logits_BTV
        output = self._body(input_ids_BT, use_cache=False, **arguments)
        self._output_type = type(output)
        hidden_BTD: torch.Tensor = output[0]
        return hidden_BTD

    def logits(self, hidden_RD: torch.Tensor) -> torch.Tensor:
        """Logits [R, V] of hidden states [R, D] that `hidden` returned."""
        if self._body is None:
            return hidden_RD
        return _run_head(self.module, self._body, self._output_type, hidden_RD)


def _run_head(
    module: torch.nn.Module, body: torch.nn.Module, output_type: Any, hidden_RD: torch.Tensor
) -> torch.Tensor:
    def hand_back(*_: Any, **__: Any) -> Any:
        return output_type(last_hidden_state=hidden_RD[None])

    placeholder = torch.zeros(1, len(hidden_RD), dtype=torch.int64, device=hidden_RD.device)
    body.forward = hand_back  # on the instance, over the class's method
    try:
        logits_RV: torch.Tensor = module(placeholder, use_cache=False).logits[0]
    finally:
        del body.forward
    return logits_RV


def _find_body(module: torch.nn.Module) -> torch.nn.Module | None:
    """The submodule whose output the head is applied to; None where trying it does not give equal logits."""
    get_decoder: Any = getattr(module, "get_decoder", lambda: None)
    candidates = [get_decoder(), getattr(module, "base_model", None)]
    probe = torch.arange(1, 4, device=next(module.parameters()).device)[None]
    with torch.inference_mode():
        whole = module(probe, use_cache=False).logits[0]
        for body in candidates:
            if not isinstance(body, torch.nn.Module) or body is module:
                continue
            output = body(probe, use_cache=False)
            if not hasattr(output, "last_hidden_state"):
                continue
            parts = _run_head(module, body, type(output), output[0][0])
            if parts.shape == whole.shape and torch.allclose(
                parts, whole, rtol=1e-2, atol=1e-2, equal_nan=True
            ):
                return body
    return None
