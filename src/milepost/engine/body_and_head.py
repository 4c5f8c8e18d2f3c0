"""Splits a causal LM into its body (tokens to hidden states) and its LM head (hidden states to logits).

Most positions of a request need no logits, and the head is a large part of a small model. The head is the
model's own forward, with the body replaced for that call by one that returns the given hidden states. So
logit scaling, soft-capping and casts happen as the model's authors wrote them. The last linear layer can
compute a part of the vocabulary only, so that the logits stay in the processor's cache. A model that cannot
be split this way stays whole: its "hidden states" are then its logits, and its head does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

PROBE_TOLERANCE = 1e-2
"""Logits of wrong parts differ by far more, in any dtype."""


class SplitModel:
    """Body and head of a transformers causal LM, if it can be split (`is_split`)."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self._body: torch.nn.Module | None = None
        self._last_linear: torch.nn.Linear | None = None
        self._output_type: type[Any] | None = None
        self.has_plain_head = False
        """True if the head is only its last linear layer, without scale or cap."""
        self._split()

    @property
    def is_split(self) -> bool:
        """True if body and head are known."""
        return self._body is not None

    @property
    def n_columns(self) -> int | None:
        """Columns of the logits if `logits` can compute some of them only, else None."""
        return None if self._last_linear is None else self._last_linear.out_features

    def layers(self, n_layers: int) -> list[torch.nn.Module]:
        """Return the body's layers; empty unless it has exactly one list of that many."""
        parts = [] if self._body is None else self._body.modules()
        lists = [part for part in parts if isinstance(part, torch.nn.ModuleList) and len(part) == n_layers]
        return list(lists[0]) if len(lists) == 1 else []

    def last_layer(self, n_layers: int) -> torch.nn.Module | None:
        """Return the last of the body's layers, or None if they are not known."""
        layers = self.layers(n_layers)
        return layers[-1] if layers else None

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.module.parameters()).device

    def hidden(self, input_ids_BT: torch.Tensor, **arguments: Any) -> torch.Tensor:
        """Return final hidden states [B, T, D]; the logits [B, T, V] of a model that stays whole."""
        if self._body is None:
            logits_BTV: torch.Tensor = self.module(input_ids_BT, use_cache=False, **arguments).logits
            return logits_BTV
        output = self._body(input_ids_BT, use_cache=False, **arguments)
        self._output_type = type(output)
        hidden_BTD: torch.Tensor = output[0]
        return hidden_BTD

    def logits(self, hidden_RD: torch.Tensor, columns: slice | None = None) -> torch.Tensor:
        """Return logits [R, V], or some of their columns, of hidden states [R, D] that `hidden` returned."""
        if self._body is None:
            return hidden_RD
        placeholder = torch.zeros(1, len(hidden_RD), dtype=torch.int64, device=hidden_RD.device)
        output_type = self._output_type

        def given_states(*_: Any, **__: Any) -> Any:
            assert output_type is not None
            return output_type(last_hidden_state=hidden_RD[None])

        with forward_replaced(self._body, given_states), self._only_columns(columns):
            logits_RV: torch.Tensor = self.module(placeholder, use_cache=False).logits[0]
        return logits_RV

    def logit_chunks(self, hidden_RD: torch.Tensor, n_columns: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield logits [R, C] of one chunk of the vocabulary after the other, each with its first column.

        A plain head computes one chunk at a time; otherwise all logits are computed first.
        """
        linear = self._last_linear if self.has_plain_head else None
        if linear is None:
            logits_RV = self.logits(hidden_RD)
            for first in range(0, logits_RV.shape[1], n_columns):
                yield first, logits_RV[:, first : first + n_columns]
            return
        for first in range(0, linear.out_features, n_columns):
            columns = slice(first, first + n_columns)
            bias = None if linear.bias is None else linear.bias[columns]
            yield first, torch.nn.functional.linear(hidden_RD, linear.weight[columns], bias)

    @contextmanager
    def _only_columns(self, columns: slice | None) -> Iterator[None]:
        linear = self._last_linear
        if columns is None or linear is None:
            yield
            return
        weight, bias = linear.weight[columns], None if linear.bias is None else linear.bias[columns]
        with forward_replaced(linear, lambda hidden: torch.nn.functional.linear(hidden, weight, bias)):
            yield

    @torch.inference_mode()
    def _split(self) -> None:
        """Find body and last linear layer by comparing their logits with those of the whole model."""
        get_decoder: Any = getattr(self.module, "get_decoder", lambda: None)
        probe = torch.arange(1, 4, device=self.device)[None]
        try:
            whole = self.module(probe, use_cache=False).logits[0]
        except Exception:  # a model's code raises anything; it raises again when a request is scored
            return
        for body in (get_decoder(), getattr(self.module, "base_model", None)):
            if not isinstance(body, torch.nn.Module) or body is self.module:
                continue
            self._body = body
            try:
                hidden_RD = self.hidden(probe)[0]
                fits = hasattr(self._output_type, "last_hidden_state")
                if fits and _same(self.logits(hidden_RD), whole):
                    self._last_linear = self._find_last_linear(hidden_RD, whole)
                    self.has_plain_head = self._is_plain(hidden_RD, whole)
                    return
            except Exception:  # its parts do not run separately
                self._last_linear = None
        self._body = None

    def _is_plain(self, hidden_RD: torch.Tensor, whole: torch.Tensor) -> bool:
        """Return whether the last linear layer alone gives the exact logits: no scale, however near to 1."""
        linear = self._last_linear
        if linear is None:
            return False
        logits_RV = torch.nn.functional.linear(hidden_RD[None], linear.weight, linear.bias)[0]
        return torch.equal(logits_RV, whole)

    def _find_last_linear(self, hidden_RD: torch.Tensor, whole: torch.Tensor) -> torch.nn.Linear | None:
        get_output: Any = getattr(self.module, "get_output_embeddings", lambda: None)
        linear = get_output()
        if type(linear) is not torch.nn.Linear:
            return None
        self._last_linear = linear
        middle = whole.shape[1] // 3
        parts = [
            self.logits(hidden_RD, columns) for columns in (slice(0, middle), slice(middle, whole.shape[1]))
        ]
        return linear if _same(torch.cat(parts, dim=1), whole) else None


@contextmanager
def forward_replaced(part: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace the forward of a module while the context is open."""
    part.forward = forward  # on the instance, over the class's method
    try:
        yield
    finally:
        del part.forward


def _same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(
        found.float(), expected.float(), rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE, equal_nan=True
    )
