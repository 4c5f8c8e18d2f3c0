"""The lm_eval task class of the `ppl_*` tasks, with text and windows as parameters.

The parameters come from lm_eval's `--metadata`: `text` (wikitext2, c4 or a file), `seqlen`, `stride`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lm_eval.api.task import ConfigurableTask

from milepost.errors import TaskError
from milepost.tasks.lm_eval.perplexity.texts import C4_WINDOWS, check_text, form_of, one_doc, read_text
from milepost.text.language import Phrase
from milepost.types.requests import Windows, usual_stride

DEFAULT_TEXT = "wikitext2"


class TextTask(ConfigurableTask):
    """A text that is scored document by document or, with `windows`, in windows of tokens.

    For lm_eval a windowed task has one doc, the text. For Milepost its docs are the windows, which depend on
    the tokenizer.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the task's YAML, which has `form` and perhaps `windows` in addition to lm_eval's keys.

        Raises:
            TaskError: a parameter is invalid, or the text does not exist.
        """
        own = {key: value for key, value in config.items() if key not in ("class", "form", "windows")}
        self.parameters = _parameters(own.get("metadata") or {})
        """text (full path of a file), seqlen and stride (None for the default)."""
        self.windows = _windows(config.get("windows"), self.parameters)
        self._file: Path | None = None
        source = form_of(self.parameters["text"], config["form"])
        if source.path == "text":
            self._file = Path(source.kwargs["data_files"]["test"])
        super().__init__(config={**own, **source.config()})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the text; files are read here, as the reader of `datasets` would change line ends."""
        if self._file is None:
            super().download(dataset_kwargs, **kwargs)
        else:
            self.dataset = {"test": one_doc(read_text(self._file))}

    def window_docs(self, n_targets: npt.NDArray[np.int64]) -> list[tuple[int, dict[str, Any]]]:
        """Return number and doc of each window, for `process_results`.

        A doc holds the number of predicted tokens, and whether the window overlaps the one before it.

        Args:
            n_targets: [W] predicted tokens of each window.
        """
        size = int(n_targets[0]) + 1
        stride = self.parameters["stride"] or usual_stride(size)
        overlap = self.windows is not None and self.windows.kind == "sliding" and stride < size
        return [
            (number, {"n_targets": int(n), "sees_more": overlap and number > 0})
            for number, n in enumerate(n_targets)
        ]


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    text = str(given.get("text", DEFAULT_TEXT))
    file = check_text(text)
    return {
        "text": text if file is None else str(file),
        "seqlen": _count(given, "seqlen", at_least=2),
        "stride": _count(given, "stride", at_least=1),
    }


def _windows(spec: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> Windows | None:
    if spec is None:
        return None
    keep_tail = spec.get("keep_tail", False)
    return Windows(
        kind=spec["kind"],
        size=parameters["seqlen"],
        whole_context=spec.get("whole_context", False),
        stride=parameters["stride"],
        keep_tail=keep_tail,
        most=C4_WINDOWS if parameters["text"] == "c4" and not keep_tail else None,
        prefix=spec.get("prefix", False),
    )


def _count(given: Mapping[str, Any], name: str, *, at_least: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if type(value) is not int or value < at_least:
        raise TaskError(
            Phrase("{name} is {value!r}", name=name, value=value),
            Phrase("pass a number of tokens, {n} or more", n=at_least),
        )
    return value
