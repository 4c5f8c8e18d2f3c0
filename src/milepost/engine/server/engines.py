"""Scores and texts from a server, by the same interfaces as from a module in memory.

Prompts go out as token ids, so that they are exactly the plan's. Log-likelihoods of given tokens are what
`echo` with `logprobs` was made for; where a server refuses that, vLLM's `prompt_logprobs` is tried.
Source: lm_eval/models/openai_completions.py and api_models.py (0.4.13), which ask in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from milepost.engine.engine import ShardwiseEngine
from milepost.engine.generate.sampling_support import OPTIONS, check_sampling_options
from milepost.engine.server.client import RefusedError, ServerClient
from milepost.errors import MilepostError
from milepost.types import Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types import Generation, Sequences

Logprobs = list[tuple[float, bool]]
"""Per token of a prompt but the first: its log-probability in nats, and whether none is likelier."""


class ServerEngine(ShardwiseEngine):
    """Scores sequences by the prompt log-probabilities of a server."""

    name = "openai"
    fallback: str | None = None

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        self._ask = self._by_echo
        self._found_out = False

    def score(self, sequences: Sequences) -> Scores:
        """See `engine.engine.Engine`.

        Raises:
            MilepostError: the server is gone, or gives no log-probabilities of prompts.
        """
        parts = [
            sequences.tokens[a:b].tolist()
            for a, b in zip(sequences.starts[:-1].tolist(), sequences.starts[1:].tolist(), strict=True)
        ]
        if parts and not self._found_out:
            self._find_out(parts[0])
        found = self._client.each(self._logprobs, parts)
        targets = [own[-n:] for own, n in zip(found, sequences.n_targets.tolist(), strict=True)]
        total = np.array([math.fsum(logprob for logprob, _ in own) for own in targets])
        finite = np.isfinite(total)
        greedy = np.array([all(first for _, first in own) for own in targets], dtype=np.bool_)
        return Scores(loglikelihood=np.where(finite, total, np.nan), greedy=greedy & finite)

    def _find_out(self, tokens: list[int]) -> None:
        """Which of the two ways the server knows."""
        reasons = []
        for ask in (self._by_echo, self._by_prompt_logprobs):
            try:
                ask(tokens)
            except (RefusedError, KeyError, TypeError, IndexError) as error:
                reasons.append(str(error) or type(error).__name__)
                continue
            self._ask, self._found_out = ask, True
            return
        raise MilepostError(
            f"the server at {self._client.base_url} gives no log-probabilities of prompts: {reasons[0]}",
            "texts can be had from it; score with --engine auto, or serve with vLLM or SGLang",
        )

    def _logprobs(self, tokens: list[int]) -> Logprobs:
        try:
            found = self._ask(tokens)
        except RefusedError as error:
            raise MilepostError(
                f"the server at {self._client.base_url} refused {len(tokens)} tokens: {error}",
                "it must see as many tokens as config.json promises, and one more (--max-model-len)",
            ) from error
        if len(found) != len(tokens) - 1:
            raise MilepostError(
                f"the server at {self._client.base_url} answers {len(found)} log-probabilities for"
                f" {len(tokens)} tokens",
                "does it add tokens of its own?",
            )
        return found

    def _by_echo(self, tokens: list[int]) -> Logprobs:
        answer = self._client.complete(prompt=tokens, max_tokens=0, echo=True, logprobs=1, temperature=0)
        told = answer["choices"][0]["logprobs"]
        own, best = told["token_logprobs"], told["top_logprobs"]
        return [
            (_number(logprob), logprob is not None and logprob >= max(likeliest.values()))
            for logprob, likeliest in zip(own[1 : len(tokens)], best[1 : len(tokens)], strict=True)
        ]

    def _by_prompt_logprobs(self, tokens: list[int]) -> Logprobs:
        answer = self._client.complete(prompt=tokens, max_tokens=1, prompt_logprobs=1, temperature=0)
        told = answer["choices"][0]["prompt_logprobs"][1 : len(tokens)]
        return [
            (_number(at[str(token)]["logprob"]), at[str(token)]["rank"] == 1)
            for token, at in zip(tokens[1:], told, strict=True)
        ]


class ServerGenerator:
    """Continues prompts by a server, which stops at the stop strings itself."""

    name = "openai"
    fallback: str | None = None
    failed: Mapping[int, str] = {}
    """Empty: a server says nothing of single requests."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `engine.generate.generator.Generator`.

        Raises:
            MilepostError: the server is gone or refuses, or the task asks for what it does not know.
        """
        check_sampling_options(self.name, generation)
        settings = _settings(generation)

        def ask(one: tuple[list[int], int]) -> str:
            tokens, answer = one
            try:
                given = self._client.complete(prompt=tokens, seed=generation.seed + answer, **settings)
                text = str(given["choices"][0]["text"])
            except (RefusedError, KeyError, TypeError, IndexError) as error:
                raise MilepostError(
                    f"the server at {self._client.base_url} gives no text: {error}",
                    "it must see as many tokens as config.json promises (--max-model-len)",
                ) from error
            for string in generation.until:
                text = text.split(string)[0]
            return text

        n = generation.n_answers
        texts = self._client.each(ask, [(prompt.tolist(), i) for prompt in prompts for i in range(n)])
        return [texts[first : first + n] for first in range(0, len(texts), n)]


def _settings(generation: Generation) -> dict[str, Any]:
    """Neutral values are said as well: a server may have others by default."""
    return {
        "max_tokens": generation.max_new_tokens,
        "temperature": generation.temperature if generation.do_sample else 0,
        **({"stop": list(generation.until)} if generation.until else {}),
        **{name: value for name, value in generation.options if name in OPTIONS[ServerGenerator.name]},
    }


def _number(logprob: float | None) -> float:
    return math.nan if logprob is None else float(logprob)
