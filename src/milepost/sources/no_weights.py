"""Why a folder that should be a checkpoint is none: training state alone, or weights of a form not read."""

from __future__ import annotations

import re
from collections.abc import Collection

from milepost.sources.names import shown, some

_FOREIGN = (
    (re.compile(r"consolidated\.\d+\.pth"), "Meta's own form"),
    (re.compile(r"consolidated(?:-\d+-of-\d+)?\.safetensors"), "Mistral's own form"),
    (re.compile(r"ckpt(?:_?\d+)?\.pt"), "nanoGPT's form"),
    (re.compile(r"lit_model\.pth"), "LitGPT's form"),
    (re.compile(r".+\.gguf"), "llama.cpp's form"),
    (re.compile(r"(?:tf_model|model)\.h5"), "TensorFlow's form"),
    (re.compile(r"flax_model.*\.msgpack"), "Flax's form"),
    (re.compile(r".+\.onnx"), "ONNX"),
    (re.compile(r".+\.nemo"), "NeMo's form"),
)
_TRAINING_STATE = re.compile(
    r"optimizer[^/]*|scheduler[^/]*\.(?:pt|bin)|scaler\.pt|rng_state.*\.pth|random_states_\d+\.pkl"
    r"|trainer_state\.json|training_args\.bin|training_state.*|zero_to_fp32\.py|dataloader.*\.(?:pt|bin)"
    r"|global_step\d+|.*_optim_states\.pt"
)
_ONLY_STATE = "weights are missing: there is only training state"
_OTHER_TORCH = re.compile(r".+\.(?:pt|pth|ckpt)")


def why_no_weights(files: Collection[str], folders: Collection[str]) -> str | None:
    """What is missing in a folder without weights that are read; None where it looks like no checkpoint."""
    for form, what in _FOREIGN:
        if found := sorted(name for name in files if form.fullmatch(name)):
            return f"{shown(found[0])} is {what}, which is not read; convert it to a Hugging Face folder"
    state = [name for name in (*files, *folders) if _TRAINING_STATE.fullmatch(name)]
    others = sorted(name for name in files if _OTHER_TORCH.fullmatch(name) and name not in state)
    if others:
        return (
            f"{shown(others[0])} is not in a form that is read; convert it to a Hugging Face folder "
            "(save_pretrained)"
        )
    if state:
        return f"{_ONLY_STATE} ({some(state)})"
    return None


def is_training_state(problem: str | None) -> bool:
    """Whether a problem is training state alone, which some trainers keep beside the weights' folder."""
    return problem is not None and problem.startswith(_ONLY_STATE)
