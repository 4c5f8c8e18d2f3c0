"""Names in HELM's registries for models that HELM itself does not load."""

from __future__ import annotations

import functools

from helm.benchmark.model_deployment_registry import (
    ClientSpec,
    ModelDeployment,
    register_model_deployment,
)
from helm.benchmark.model_metadata_registry import get_unknown_model_metadata, register_model_metadata

LONG = 1_000_000
"""More tokens than any prompt has."""


def register_model(name: str, max_length: int) -> None:
    """Register a model with a deployment and a tokenizer of its name.

    Args:
        max_length: tokens of a prompt with what follows it.
    """
    register_model_metadata(get_unknown_model_metadata(name))
    register_model_deployment(
        ModelDeployment(
            name=name,
            client_spec=ClientSpec(class_name="helm.clients.huggingface_client.HuggingFaceClient"),
            model_name=name,
            tokenizer_name=name,
            max_sequence_length=max_length,
        )
    )


@functools.cache
def name_without_tokenizer() -> str:
    """Return the name of a registered model that run specs can be made for and nothing can be asked of."""
    name = "milepost/any"
    register_model(name, LONG)
    return name
