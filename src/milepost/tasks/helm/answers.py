"""Tokens and log-probabilities back into HELM's request results, by HELM's own Hugging Face client.

The client's text handling (special tokens, stop sequences, the end of a text) is HELM's code; only the model
behind it is replaced by what the engine answered.
Source: helm/clients/huggingface_client.py `make_request`, `serve_request` (0.5.16).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from helm.clients.huggingface_client import HuggingFaceClient
from helm.common.cache import BlackHoleCacheConfig
from helm.common.request import GeneratedOutput, Request, RequestResult, Token
from helm.tokenizers.huggingface_tokenizer import HuggingFaceTokenizer

from milepost.errors import ResultsError
from milepost.tasks.helm.quiet import silence
from milepost.tasks.helm.stand_in import StandIn
from milepost.text.language import Phrase
from milepost.types.token_answers import TokenAnswer


@dataclass(frozen=True)
class TokenAmongOthers(Token):
    """A token with the likeliest ones at its place, where `top_k_per_token` asks for more than one.

    HELM's tokens had this field up to its version 1.0, and what reads its files now ignores it.
    """

    top_logprobs: dict[str, float] = field(default_factory=dict)
    """Text of each to its log-probability by the model, the likeliest first."""


class _Answered:
    """In the place of the client's cache: it has the answer to the request that is being made."""

    def __init__(self) -> None:
        self.response: dict[str, Any] = {}

    def get(self, key: Any, compute: Callable[[], Any]) -> tuple[dict[str, Any], bool]:
        """Return the answer; nothing is computed."""
        return self.response, False


class HelmClient(HuggingFaceClient):
    """HELM's Hugging Face client over answers that are there already."""

    def __init__(self, stand_in: StandIn) -> None:
        silence()
        super().__init__(
            BlackHoleCacheConfig(),
            HuggingFaceTokenizer(BlackHoleCacheConfig(), stand_in.name),
            pretrained_model_name_or_path=stand_in.name,
            end_of_text_token=stand_in.end_of_text,
        )
        self.cache: Any = _Answered()
        self._own = stand_in.tokenizer
        self._texts: dict[int, str] = {}
        """Text of each single token, by its id."""
        eos = self._own.eos_token_id
        self.end_of_text_id: int | None = (
            eos
            if eos is not None and stand_in.end_of_text and self._own.decode(eos) == stand_in.end_of_text
            else None
        )
        """The token at which the client cuts a text; None where there is none."""

    def encode_stop(self, text: str) -> list[int]:
        """Return the tokens of a stop sequence."""
        ids: list[int] = self._own(text, return_token_type_ids=False, add_special_tokens=False)["input_ids"]
        return ids

    def result(self, request: Request, answer: Sequence[str]) -> RequestResult:
        """Return what HELM's client would, had its model given this answer.

        Args:
            answer: of each completion, `TokenAnswer.to_text`.

        Raises:
            ResultsError: the answer is damaged.
        """
        try:
            found = [TokenAnswer.from_text(text) for text in answer]
        except ValueError as error:
            raise ResultsError(Phrase("a stored answer is damaged: {error}", error=error)) from error
        prompt: list[int] = []
        if request.echo_prompt:
            prompt = list(self._own(self.get_prompt(request), return_token_type_ids=False)["input_ids"])
        self.cache.response = {
            "completions": [self._completion(request, prompt, one) for one in found],
            "input_length": len(prompt),
            "request_time": None,
        }
        result: RequestResult = self.make_request(request)
        result.completions = [
            self._with_alternatives(completion, len(prompt), one)
            for completion, one in zip(result.completions, found, strict=True)
        ]
        return result

    def _with_alternatives(
        self, completion: GeneratedOutput, n_prompt: int, answer: TokenAnswer
    ) -> GeneratedOutput:
        """Add the alternatives to the tokens that HELM's client leaves of an answer."""
        if answer.alternatives is None:
            return completion
        tokens = list(completion.tokens)
        places = zip(answer.alternatives.tokens.tolist(), answer.alternatives.logprobs.tolist(), strict=True)
        for i, (ids, logprobs) in zip(range(n_prompt, len(tokens)), places, strict=False):
            likeliest: dict[str, float] = {}
            for token, logprob in zip(ids, logprobs, strict=True):
                likeliest.setdefault(self._text(token), logprob)
            tokens[i] = TokenAmongOthers(tokens[i].text, tokens[i].logprob, likeliest)
        return replace(completion, tokens=tokens)

    def _completion(self, request: Request, prompt: list[int], answer: TokenAnswer) -> dict[str, Any]:
        only_prompt = request.echo_prompt and request.max_tokens == 0 and request.num_completions == 1
        tokens = prompt + answer.tokens.tolist()
        return {
            "text": self._own.batch_decode([tokens])[0],
            "tokens": [self._text(token) for token in tokens],
            "logprobs": [] if only_prompt else answer.logprobs.tolist(),
            "prompt_logprobs": [0.0, *answer.logprobs.tolist()] if only_prompt else [],
        }

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._own.decode(token)
        return self._texts[token]
