"""The model that HELM is told about: a deployment with the checkpoints' tokenizer and no weights.

HELM's adapters, clients and metrics find a model's tokenizer and context length by the name of its
deployment. What HELM's `--enable-local-huggingface-models` registers for a folder is registered here for a
tokenizer in memory. Source: helm/benchmark/huggingface_registration.py (0.5.16).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from helm.benchmark.metrics.metric_service import MetricService
from helm.benchmark.model_deployment_registry import DEPLOYMENT_NAME_TO_MODEL_DEPLOYMENT
from helm.benchmark.tokenizer_config_registry import (
    TokenizerConfig,
    TokenizerSpec,
    register_tokenizer_config,
)
from helm.common.cache import BlackHoleCacheConfig
from helm.common.perspective_api_request import PerspectiveAPIRequest
from helm.common.tokenization_request import (
    DecodeRequest,
    DecodeRequestResult,
    TokenizationRequest,
    TokenizationRequestResult,
    TokenizationToken,
)
from helm.tokenizers.huggingface_tokenizer import HuggingFaceTokenizer, WrappedPreTrainedTokenizer

from milepost.errors import MilepostError, TokenizerError
from milepost.tasks.helm.model_names import register_model
from milepost.tasks.question_source import ModelTraits
from milepost.text.language import Phrase
from milepost.text.messages import one_line

MOST_KEPT_TOKENS = 10_000_000
"""Tokens of texts that are kept in memory: adapters count a prompt's tokens, and so do the metrics of every
checkpoint."""
COMPARED = 16
"""Texts that are encoded by HELM's tokenizer too, to check the faster one."""
LONGEST_KNOWN = 1_000_000
"""A tokenizer that says a larger model_max_length does not know it."""


_SERVICES: dict[str, LocalService] = {}
"""By name, the one service of each registered tokenizer, with the tokens that it has counted so far."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A registered model, and the services that HELM's code asks for its tokenizer."""

    name: str
    """Name of the model, its deployment and its tokenizer in HELM's registries: `milepost/...`."""
    tokenizer: Any
    """The transformers tokenizer."""
    max_length: int
    """Tokens of a prompt with what follows it."""
    service: LocalService
    end_of_text: str

    @classmethod
    def register(cls, models: ModelTraits) -> StandIn:
        """Register a tokenizer under a name made of its id; a second time changes nothing.

        The context is what the tokenizer itself says where that is less than the model's, as in HELM.

        Raises:
            TokenizerError: HELM cannot use the tokenizer.
        """
        tokenizer = models.load_tokenizer()
        name = f"milepost/{models.tokenizer_id[:16]}-{models.max_length}"
        told = getattr(tokenizer, "model_max_length", None)
        length = min(models.max_length, told) if told and told <= LONGEST_KNOWN else models.max_length
        end_of_text = tokenizer.eos_token or ""
        _check_usable(tokenizer)
        if name not in DEPLOYMENT_NAME_TO_MODEL_DEPLOYMENT:
            HuggingFaceTokenizer._tokenizers[name] = WrappedPreTrainedTokenizer(tokenizer)
            register_model(name, length)
            register_tokenizer_config(
                TokenizerConfig(
                    name=name,
                    tokenizer_spec=TokenizerSpec(
                        class_name="helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer"
                    ),
                    end_of_text_token=end_of_text,
                    prefix_token=tokenizer.bos_token or "",
                )
            )
            _SERVICES[name] = LocalService(name, models.encoder_of(tokenizer))
        return cls(name, tokenizer, length, _SERVICES[name], end_of_text)


def _check_usable(tokenizer: Any) -> None:
    """Refuse a tokenizer that lacks what HELM's tokenizer and client call.

    Raises:
        TokenizerError: naming what fails.
    """
    try:
        ids = tokenizer.encode("a b", add_special_tokens=False)
        tokenizer.tokenize("a b")
        tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        sound = all(isinstance(token, int) for token in ids) and bool(ids)
    except Exception as error:  # a tokenizer's own code raises anything
        raise TokenizerError(
            Phrase("HELM cannot use this tokenizer: {error}", error=one_line(error)),
            "pass --tokenizer PATH with a tokenizer of transformers",
        ) from error
    if not sound:
        raise TokenizerError(
            "HELM cannot use this tokenizer: it encodes no token ids",
            "pass --tokenizer PATH with a tokenizer of transformers",
        )


class _Tokens(dict[str | int, TokenizationToken]):
    """One object for each token, so that a text costs a pointer per token."""

    def __missing__(self, value: str | int) -> TokenizationToken:
        self[value] = token = TokenizationToken(value)
        return token


class LocalService(MetricService):
    """HELM's tokenizer service and metric service without a network: it tokenizes and nothing else."""

    def __init__(self, tokenizer_name: str, encode: Callable[[str], list[int]] | None = None) -> None:
        """Make the service of a registered tokenizer.

        Args:
            encode: see `ModelTraits.encoder_of`; it is used as long as it gives what HELM's tokenizer does.
        """
        self._tokenizer = HuggingFaceTokenizer(BlackHoleCacheConfig(), tokenizer_name)
        self._encode = encode
        self._n_compared = 0
        self._kept: dict[TokenizationRequest, TokenizationRequestResult] = {}
        self._n_kept_tokens = 0
        self._token = _Tokens()

    def tokenize(self, request: TokenizationRequest) -> TokenizationRequestResult:
        """See `TokenizerService.tokenize`."""
        result = self._kept.get(request)
        if result is None:
            result = self._tokenized(request)
            if self._n_kept_tokens < MOST_KEPT_TOKENS:
                self._kept[request] = result
                self._n_kept_tokens += len(result.tokens)
        return result

    def _tokenized(self, request: TokenizationRequest) -> TokenizationRequestResult:
        if self._encode is None or not request.encode or request.truncation:
            return self._by_helm(request)
        result = TokenizationRequestResult(
            success=True,
            cached=False,
            text=request.text,
            tokens=[self._token[value] for value in self._encode(request.text)],
            request_time=0.0,
        )
        if self._n_compared < COMPARED:
            self._n_compared += 1
            by_helm = self._by_helm(request)
            if by_helm.tokens != result.tokens:
                # The tokenizer does not behave as its description says.
                self._encode = None
                self._kept.clear()
                return by_helm
        return result

    def _by_helm(self, request: TokenizationRequest) -> TokenizationRequestResult:
        result = self._tokenizer.tokenize(request)
        return replace(result, tokens=[self._token[token.value] for token in result.tokens])

    def decode(self, request: DecodeRequest) -> DecodeRequestResult:
        """See `TokenizerService.decode`."""
        return self._tokenizer.decode(request)

    def get_toxicity_scores(self, request: PerspectiveAPIRequest) -> Any:
        """Say, as HELM does without credentials, that the Perspective API cannot be asked."""
        from helm.clients.perspective_api_client import PerspectiveAPIClientCredentialsError

        raise PerspectiveAPIClientCredentialsError("Milepost asks no network service")

    def __getattr__(self, name: str) -> Any:
        raise MilepostError(
            Phrase("a HELM metric asks for {name}, a network service that Milepost does not ask", name=name)
        )
