"""An adapter and the base model that it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from milepost.weights.process_state import PROCESS_STATE


class Base:
    """A base model. Its module is made when the first adapter is merged into it."""

    def __init__(self, config: PretrainedConfig, make_module: Callable[[], PreTrainedModel]) -> None:
        self.config = config
        self._make_module = make_module
        self._module: PreTrainedModel | None = None

    @property
    def module(self) -> PreTrainedModel:
        """The module on the CPU, in float32; callers must not change it.

        Raises:
            CheckpointError: the base's weights do not fit its config.
        """
        with PROCESS_STATE:
            if self._module is None:
                self._module = self._make_module()
            return self._module


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that can be merged into its base."""

    file: Path
    base: Base
    settings: Mapping[str, Any]
    """Arguments for `PeftConfig.from_peft_type`."""
