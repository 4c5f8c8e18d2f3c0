"""transformers' continuous batching, for the machines where its paged attention pays.

It has no stop strings: texts are streamed, and a request is cancelled when ours say that it has ended. What
it does in a thread of its own fails without a word inside `torch.inference_mode`, and it leaves its attention
set in the model, so both are seen to here. Greedy only: its draws depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from milepost.engine.generate.detokenize import IsFinished, LogitsCallback, TokenGenerator
from milepost.engine.generate.sampling_support import check_sampling_options
from milepost.errors import MilepostError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from milepost.engine.generate.stopping import TextCodec
    from milepost.types import Generation

PAGE_TOKENS = {"cpu": 64, "cuda": 256}
MAX_ROWS = {"cpu": 16, "cuda": 256}
BATCH_TOKENS = {"cpu": 1024, "cuda": 8192}
NO_TOKEN = -1
"""As an end-of-text token: none."""


class ContinuousGenerator(TokenGenerator):
    """A manager of transformers per call; the module must let its attention be replaced."""

    name = "hf-continuous"
    fallback: str | None = None

    def __init__(self, module: torch.nn.Module, codec: TextCodec, *, vocab_size: int) -> None:
        self.module: Any = module
        self.codec = codec
        self.vocab_size = vocab_size
        self.kind = next(module.parameters()).device.type

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `base.Generator`.

        Raises:
            MilepostError: the task draws its texts or penalises tokens, or the model cannot be run so.
        """
        check_sampling_options(self.name, generation)
        return super().generate(prompts, generation)

    def tokens(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        generation: Generation,
        is_finished: IsFinished,
        on_logits: LogitsCallback | None = None,
    ) -> list[list[int] | None]:
        """See `TokenGenerator`; there are no logits to on_logits."""
        before = self.module.config._attn_implementation
        try:
            with torch.no_grad():
                return self._tokens(prompts, generation, is_finished)
        finally:
            self.module.set_attn_implementation(before)

    def _tokens(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation, is_finished: IsFinished
    ) -> list[list[int] | None]:
        found: dict[int, list[int]] = {}
        seen = [0] * len(prompts)
        with self.module.continuous_batching_context_manager(
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=generation.max_new_tokens, eos_token_id=NO_TOKEN
            ),
            continuous_batching_config=self._config(prompts, generation),
            warmup=False,
        ) as manager:
            for number, prompt in enumerate(prompts):
                manager.add_request(
                    prompt.tolist(),
                    request_id=str(number),
                    max_new_tokens=generation.max_new_tokens,
                    streaming=True,
                    eos_token_id=NO_TOKEN,
                )
            for output in manager:
                number = int(output.request_id)
                if output.error is not None:
                    raise MilepostError(
                        f"transformers' continuous batching gave up: {output.error}", "use --engine auto"
                    )
                if number not in found:
                    length = _end(output.generated_tokens, seen[number], is_finished)
                    seen[number] = len(output.generated_tokens)
                    if length is not None or output.is_finished():
                        found[number] = list(output.generated_tokens[:length])
                        manager.cancel_request(output.request_id)
                if len(found) == len(prompts):
                    break
        if len(found) < len(prompts):
            raise MilepostError(
                "transformers' continuous batching ended before its texts had", "use --engine auto"
            )
        return [found[number] for number in range(len(prompts))]

    def _config(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> ContinuousBatchingConfig:
        """Sizes are ours: what it infers itself takes most of a machine's memory."""
        page = PAGE_TOKENS.get(self.kind, 64)
        rows = min(len(prompts), MAX_ROWS.get(self.kind, 16))
        longest = max(len(prompt) for prompt in prompts) + generation.max_new_tokens
        return ContinuousBatchingConfig(
            page_size=page,
            num_blocks=rows * (-(-longest // page) + 1),
            max_batch_tokens=max(BATCH_TOKENS.get(self.kind, 1024), rows),
            max_requests_per_batch=rows,
            use_cuda_graph=None if self.kind == "cuda" else False,
            use_async_batching=None if self.kind == "cuda" else False,
        )


def _end(tokens: Sequence[int], seen: int, is_finished: IsFinished) -> int | None:
    """How many tokens the text has, if it has ended with one of those that are new."""
    return next(
        (length for length in range(max(1, seen + 1), len(tokens) + 1) if is_finished(tokens[:length])), None
    )
