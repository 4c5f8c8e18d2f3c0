"""transformers' continuous batching, for machines on which its paged attention pays.

It has no stop strings: texts are streamed, and a request is cancelled when our rules say that its text has
ended. Its background thread fails silently inside `torch.inference_mode`, and it leaves its attention set in
the model, so both are handled here. Greedy only: its draws depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from milepost.engine.generate.detokenize import AnswerTokens, GenerationJob, IsFinished, TokenGenerator
from milepost.engine.generate.sampling_support import check_sampling_options
from milepost.errors import MilepostError
from milepost.text.language import Phrase

if TYPE_CHECKING:
    from milepost.engine.generate.generator import Prompts, Texts
    from milepost.engine.generate.stopping import TextCodec
    from milepost.types.generation import Generation

PAGE_TOKENS = {"cpu": 64, "cuda": 256}
MAX_ROWS = {"cpu": 16, "cuda": 256}
BATCH_TOKENS = {"cpu": 1024, "cuda": 8192}
NO_TOKEN = -1
"""An end-of-text token that no model generates."""


class ContinuousGenerator(TokenGenerator):
    """Runs one of transformers' managers per call; the module must let its attention be replaced."""

    name = "hf-continuous"

    def __init__(self, module: torch.nn.Module, codec: TextCodec, *, vocab_size: int) -> None:
        super().__init__(codec, vocab_size)
        self.module: Any = module
        self.device_type = next(module.parameters()).device.type

    def generate(self, prompts: Prompts, generation: Generation) -> Texts:
        """See `Generator.generate`.

        Raises:
            MilepostError: the task draws its texts or penalises tokens, or continuous batching failed.
        """
        check_sampling_options(self.name, generation)
        return super().generate(prompts, generation)

    def tokens(self, job: GenerationJob) -> list[AnswerTokens]:
        """See `TokenGenerator.tokens`; `on_logits` is not called."""
        before = self.module.config._attn_implementation
        try:
            with torch.no_grad():
                return self._tokens(job)
        finally:
            self.module.set_attn_implementation(before)

    def _tokens(self, job: GenerationJob) -> list[AnswerTokens]:
        answers: dict[int, list[int]] = {}
        n_seen = [0] * len(job.prompts)
        max_new_tokens = job.generation.max_new_tokens
        with self.module.continuous_batching_context_manager(
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=NO_TOKEN
            ),
            continuous_batching_config=self._config(job),
            warmup=False,
        ) as manager:
            for number, prompt in enumerate(job.prompts):
                manager.add_request(
                    prompt.tolist(),
                    request_id=str(number),
                    max_new_tokens=max_new_tokens,
                    streaming=True,
                    eos_token_id=NO_TOKEN,
                )
            for output in manager:
                number = int(output.request_id)
                if output.error is not None:
                    raise MilepostError(
                        Phrase("transformers' continuous batching failed: {error}", error=output.error),
                        "use --engine auto",
                    )
                if number not in answers:
                    length = _end(output.generated_tokens, n_seen[number], job.is_finished)
                    n_seen[number] = len(output.generated_tokens)
                    if length is not None or output.is_finished():
                        answers[number] = list(output.generated_tokens[:length])
                        manager.cancel_request(output.request_id)
                if len(answers) == len(job.prompts):
                    break
        if len(answers) < len(job.prompts):
            raise MilepostError(
                "transformers' continuous batching stopped before all texts had ended", "use --engine auto"
            )
        return [answers[number] for number in range(len(job.prompts))]

    def _config(self, job: GenerationJob) -> ContinuousBatchingConfig:
        """Return a config with our sizes: those that it infers take most of a machine's memory."""
        page = PAGE_TOKENS.get(self.device_type, 64)
        rows = min(len(job.prompts), MAX_ROWS.get(self.device_type, 16))
        longest = max(len(prompt) for prompt in job.prompts) + job.generation.max_new_tokens
        return ContinuousBatchingConfig(
            page_size=page,
            num_blocks=rows * (-(-longest // page) + 1),
            max_batch_tokens=max(BATCH_TOKENS.get(self.device_type, 1024), rows),
            max_requests_per_batch=rows,
            use_cuda_graph=None if self.device_type == "cuda" else False,
            use_async_batching=None if self.device_type == "cuda" else False,
        )


def _end(tokens: Sequence[int], n_seen: int, is_finished: IsFinished) -> int | None:
    """Return the text's length in tokens if it ends with one of the new tokens, else None."""
    return next(
        (length for length in range(max(1, n_seen + 1), len(tokens) + 1) if is_finished(tokens[:length])),
        None,
    )
