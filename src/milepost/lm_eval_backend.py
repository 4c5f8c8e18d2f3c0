"""Register Milepost's engine as a model of lm-evaluation-harness, for existing scripts.

    import milepost.lm_eval_backend  # registers the model name `milepost`
    lm_eval.simple_evaluate(model="milepost", model_args="pretrained=gpt2,dtype=float32", tasks=["arc_easy"])

or `milepost lm-eval run --model milepost --model_args pretrained=... --tasks ...`. Loading and tokenising are
lm_eval's own (`hf`); log-likelihoods and texts come from the engines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from milepost.engine import build_engine, build_generator
from milepost.engine.engine import EngineName
from milepost.errors import MilepostError
from milepost.run.device import resolve_device
from milepost.tasks.lm_eval.generation import read_generation, with_defaults
from milepost.text.language import Phrase
from milepost.types.generation import Generation
from milepost.types.sequences import Sequences
from milepost.weights import generation_defaults

TokenPair = tuple[Any, list[int], list[int]]
"""(request, context ids, continuation ids), as lm_eval gives requests to a model."""


@register_model("milepost")
class MilepostLM(HFLM):
    """lm_eval's Hugging Face model with Milepost's engines for log-likelihoods and `generate_until`.

    Takes the arguments of `hf`, and `engine` (auto, packed, padded, reference) and `batch_tokens` (tokens per
    forward pass; by default what fits). Without `device` the best one is used.
    """

    def __init__(
        self,
        pretrained: Any,
        *,
        engine: EngineName = "auto",
        batch_tokens: int | None = None,
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        if device is not None and device.startswith("cuda") and not torch.cuda.is_available():
            device = (
                None  # lm_eval's command line says cuda:0 on every machine and leaves the choice to its model
            )
        super().__init__(pretrained, device=resolve_device(device or "auto"), **kwargs)
        if self.backend != "causal":
            raise MilepostError("the milepost model scores causal language models only", "use --model hf")
        self._engine = build_engine(
            engine,
            self.model,
            vocab_size=int(self.model.get_input_embeddings().weight.shape[0]),
            budget_tokens=batch_tokens,
        )

        self._generator = build_generator(
            engine,
            self.model,
            self.tokenizer,
            vocab_size=int(self.model.get_input_embeddings().weight.shape[0]),
            budget_tokens=batch_tokens,
        )
        self._defaults = generation_defaults(self.model.generation_config)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        found: list[str | None] = [None] * len(requests)
        groups: dict[Generation, list[int]] = {}
        for number, request in enumerate(requests):
            asked = read_generation("generate_until", request.args[1], 1, seed=None)
            groups.setdefault(with_defaults(asked, self._defaults, self.tokenizer.eos_token), []).append(
                number
            )
        for generation, numbers in groups.items():
            prompts = [self._prompt(requests[number].args[0], generation) for number in numbers]
            for number, texts in zip(numbers, self._answers(prompts, generation), strict=True):
                found[number] = texts
                self.cache_hook.add_partial("generate_until", requests[number].args, texts)
        return [text or "" for text in found]

    def _answers(self, prompts: list[npt.NDArray[np.int32]], generation: Generation) -> list[str]:
        """Return a text per prompt; equal prompts get different samples, as lm_eval repeats prompts."""
        if not generation.do_sample:
            answers = self._generator.generate(prompts, generation)
            self._raise_if_failed(self._generator.failed)
            return [texts[0] if texts else "" for texts in answers]
        numbers_of: dict[bytes, list[int]] = {}
        for number, prompt in enumerate(prompts):
            numbers_of.setdefault(prompt.tobytes(), []).append(number)
        most = max(len(numbers) for numbers in numbers_of.values())
        different = [prompts[numbers[0]] for numbers in numbers_of.values()]
        drawn = self._generator.generate(different, replace(generation, n_answers=most))
        self._raise_if_failed(self._generator.failed)
        found = [""] * len(prompts)
        for numbers, texts in zip(numbers_of.values(), drawn, strict=True):
            for number, text in zip(numbers, texts or (), strict=False):
                found[number] = text
        return found

    @staticmethod
    def _raise_if_failed(failed: Mapping[int, str]) -> None:
        """Raise if the model raised on a request: lm_eval has no place for single failures."""
        for number, why in failed.items():
            raise MilepostError(
                Phrase(
                    "the model raised an exception on {n} requests, first on number {number}: {why}",
                    n=len(failed),
                    number=number,
                    why=why,
                ),
                "`milepost run` goes on with the others",
            )

    def _prompt(self, context: str, generation: Generation) -> npt.NDArray[np.int32]:
        room = self.max_length - generation.max_new_tokens
        if room < 1:
            raise MilepostError(
                Phrase(
                    "texts of up to {n} tokens are asked for, the model sees {m}",
                    n=generation.max_new_tokens,
                    m=self.max_length,
                ),
                "pass --gen_kwargs max_gen_toks=N with a smaller N",
            )
        ids, _ = self.tok_batch_encode([context], left_truncate_len=room)
        prompt: npt.NDArray[np.int32] = ids[0].numpy().astype(np.int32)
        return prompt

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        windows: list[TokenPair] = []
        request_of: list[int] = []
        for number, (text,) in enumerate(request.args for request in requests):
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                windows.append((None, *make_disjoint_window(window)))
                request_of.append(number)
        totals = np.zeros(len(requests))
        np.add.at(totals, request_of, [score for score, _ in self._loglikelihood_tokens(windows)])
        for request, total in zip(requests, totals.tolist(), strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        found: list[float] = totals.tolist()
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[TokenPair], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        if not requests:
            return []
        tokens = [(context + continuation)[-(self.max_length + 1) :] for _, context, continuation in requests]
        for (asked, _, continuation), ids in zip(requests, tokens, strict=True):
            if not 0 < len(continuation) < len(ids):
                raise MilepostError(
                    Phrase(
                        "cannot score a continuation of {n} tokens in {m}: {asked!r}",
                        n=len(continuation),
                        m=len(ids),
                        asked=asked,
                    ),
                    Phrase("the model sees {n} tokens; leave this task out", n=self.max_length),
                )
        scores = self._engine.score(
            Sequences(
                tokens=np.concatenate([np.asarray(ids, dtype=np.int32) for ids in tokens]),
                starts=np.cumsum([0, *map(len, tokens)]).astype(np.int64),
                n_targets=np.asarray([len(continuation) for _, _, continuation in requests], dtype=np.int32),
            )
        )
        self._raise_if_failed(scores.failed)
        answers = list(zip(scores.loglikelihood.tolist(), scores.greedy.tolist(), strict=True))
        for (asked, _, _), answer in zip(requests, answers, strict=True):
            if asked is not None:
                self.cache_hook.add_partial("loglikelihood", asked, answer)
        return answers

    def get_model_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super().get_model_info()
        return {**info, "milepost_engine": self._engine.name, "milepost_fallback": self._engine.fallback}
