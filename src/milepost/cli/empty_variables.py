"""Unset environment variables that are set but empty, which some libraries take for a value.

A job script that says `HF_ENDPOINT=$MIRROR` where there is no mirror means the default. huggingface_hub would
ask the address "", keep its cache in the working folder for an empty `HF_HOME` and fail for an empty
`HF_HUB_DOWNLOAD_TIMEOUT`; botocore would look for a profile of no name.
"""

from __future__ import annotations

import os

LIBRARIES = (
    "AWS_", "GCSFS_", "GOOGLE_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_", "LMEVAL_", "MALLOC_", "MILEPOST_",
    "OMP_", "OPENAI_", "OPENBLAS_", "PYTORCH_", "RAY_", "STORAGE_EMULATOR_", "TRACKIO_", "TRANSFORMERS_",
    "WANDB_", "XDG_",
)  # fmt: skip
"""First letters of the variables. For others an empty value has a meaning: no GPUs, no proxy."""


def unset_empty_variables() -> None:
    """Unset each empty variable of `LIBRARIES`, for this process and those that it starts."""
    for name in [name for name, value in os.environ.items() if not value and name.startswith(LIBRARIES)]:
        del os.environ[name]
