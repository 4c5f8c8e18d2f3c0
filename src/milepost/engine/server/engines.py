"""Scores and texts from a server, with the interfaces of engines and generators.

Prompts are sent as token ids, so that they are exactly the plan's. Log-likelihoods of given tokens come from
`echo` with `logprobs`; if a server refuses that, vLLM's `prompt_logprobs` is tried.
Source: lm_eval/models/openai_completions.py and api_models.py (0.4.13), which send the same requests.
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
from milepost.text.language import Phrase
from milepost.types.sequences import Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types.generation import Generation
    from milepost.types.sequences import Sequences

Logprobs = list[tuple[float, bool]]
"""Log-probability in nats of each token but the first, and whether no token is more likely."""


class ServerEngine(ShardwiseEngine):
    """Scores sequences by a server's log-probabilities of prompts."""

    name = "openai"
    fallback: str | None = None

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        self._ask = self._by_echo
        self._has_chosen = False

    def score(self, sequences: Sequences) -> Scores:
        """See `Engine.score`.

        Raises:
            MilepostError: the server cannot be reached, or gives no log-probabilities of prompts.
        """
        parts = [
            sequences.tokens[a:b].tolist()
            for a, b in zip(sequences.starts[:-1].tolist(), sequences.starts[1:].tolist(), strict=True)
        ]
        if parts and not self._has_chosen:
            self._choose_way(parts[0])
        found = self._client.each(self._logprobs, parts)
        targets = [own[-n:] for own, n in zip(found, sequences.n_targets.tolist(), strict=True)]
        total = np.array([math.fsum(logprob for logprob, _ in own) for own in targets])
        finite = np.isfinite(total)
        greedy = np.array([all(first for _, first in own) for own in targets], dtype=np.bool_)
        return Scores(loglikelihood=np.where(finite, total, np.nan), greedy=greedy & finite)

    def _choose_way(self, tokens: list[int]) -> None:
        """Choose the way to ask for log-probabilities that the server supports."""
        reasons = []
        for ask in (self._by_echo, self._by_prompt_logprobs):
            try:
                ask(tokens)
            except (RefusedError, KeyError, TypeError, IndexError) as error:
                reasons.append(str(error) or type(error).__name__)
                continue
            self._ask, self._has_chosen = ask, True
            return
        raise MilepostError(
            Phrase(
                "the server at {address} gives no log-probabilities of prompts: {reason}",
                address=self._client.base_url,
                reason=reasons[0],
            ),
            "it can only generate texts; score with --engine auto, or serve with vLLM or SGLang",
        )

    def _logprobs(self, tokens: list[int]) -> Logprobs:
        try:
            found = self._ask(tokens)
        except RefusedError as error:
            raise MilepostError(
                Phrase(
                    "the server at {address} refused {n} tokens: {error}",
                    address=self._client.base_url,
                    n=len(tokens),
                    error=error,
                ),
                "its context must be one token longer than that of config.json (--max-model-len)",
            ) from error
        if len(found) != len(tokens) - 1:
            raise MilepostError(
                Phrase(
                    "the server at {address} answers {n} log-probabilities for {m} tokens",
                    address=self._client.base_url,
                    n=len(found),
                    m=len(tokens),
                ),
                "is the server adding special tokens (BOS)?",
            )
        return found

    def _by_echo(self, tokens: list[int]) -> Logprobs:
        answer = self._client.complete(prompt=tokens, max_tokens=0, echo=True, logprobs=1, temperature=0)
        logprobs = answer["choices"][0]["logprobs"]
        own, best = logprobs["token_logprobs"], logprobs["top_logprobs"]
        return [
            (_number(logprob), logprob is not None and logprob >= max(top.values()))
            for logprob, top in zip(own[1 : len(tokens)], best[1 : len(tokens)], strict=True)
        ]

    def _by_prompt_logprobs(self, tokens: list[int]) -> Logprobs:
        answer = self._client.complete(prompt=tokens, max_tokens=1, prompt_logprobs=1, temperature=0)
        logprobs = answer["choices"][0]["prompt_logprobs"][1 : len(tokens)]
        return [
            (_number(at[str(token)]["logprob"]), at[str(token)]["rank"] == 1)
            for token, at in zip(tokens[1:], logprobs, strict=True)
        ]


class ServerGenerator:
    """Continues prompts by a server, which stops at the stop strings."""

    name = "openai"
    fallback: str | None = None
    failed: Mapping[int, str] = {}
    """Empty: a server does not tell which request failed."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    def generate(
        self, prompts: Sequence[npt.NDArray[np.int32]], generation: Generation
    ) -> list[list[str] | None]:
        """See `Generator.generate`.

        Raises:
            MilepostError: the server cannot be reached or refuses, or does not support the task's options.
        """
        check_sampling_options(self.name, generation)
        settings = _settings(generation)

        def ask(request: tuple[list[int], int]) -> str:
            tokens, number = request
            try:
                answer = self._client.complete(prompt=tokens, seed=generation.seed + number, **settings)
                text = str(answer["choices"][0]["text"])
            except (RefusedError, KeyError, TypeError, IndexError) as error:
                raise MilepostError(
                    Phrase(
                        "the server at {address} gives no text: {error}",
                        address=self._client.base_url,
                        error=error,
                    ),
                    "its context must be as long as that of config.json (--max-model-len)",
                ) from error
            for string in generation.until:
                text = text.split(string)[0]
            return text

        n = generation.n_answers
        texts = self._client.each(ask, [(prompt.tolist(), i) for prompt in prompts for i in range(n)])
        return [texts[first : first + n] for first in range(0, len(texts), n)]


def _settings(generation: Generation) -> dict[str, Any]:
    """Return the request's options, neutral values included, as a server may have other defaults."""
    return {
        "max_tokens": generation.max_new_tokens,
        "temperature": generation.temperature if generation.do_sample else 0,
        **({"stop": list(generation.until)} if generation.until else {}),
        **{name: value for name, value in generation.options if name in OPTIONS[ServerGenerator.name]},
    }


def _number(logprob: float | None) -> float:
    return math.nan if logprob is None else float(logprob)
