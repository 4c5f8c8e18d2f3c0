"""Explain why a folder has no weights that can be read: only training state, or another format."""

from __future__ import annotations

import re
from collections.abc import Collection

from milepost.text.messages import shown, some

_FOREIGN = (
    (re.compile(r"consolidated\.\d+\.pth"), "Meta's own format"),
    (re.compile(r"consolidated(?:-\d+-of-\d+)?\.safetensors"), "Mistral's own format"),
    (re.compile(r"ckpt(?:_?\d+)?\.pt"), "nanoGPT's format"),
    (re.compile(r"lit_model\.pth"), "LitGPT's format"),
    (re.compile(r".+\.gguf"), "llama.cpp's format"),
    (re.compile(r"(?:tf_model|model)\.h5"), "TensorFlow's format"),
    (re.compile(r"flax_model.*\.msgpack"), "Flax's format"),
    (re.compile(r".+\.onnx"), "ONNX"),
    (re.compile(r".+\.nemo"), "NeMo's format"),
)
_TRAINING_STATE = re.compile(
    r"optimizer[^/]*|scheduler[^/]*\.(?:pt|bin)|scaler\.pt|rng_state.*\.pth|random_states_\d+\.pkl"
    r"|trainer_state\.json|training_args\.bin|training_state.*|zero_to_fp32\.py|dataloader.*\.(?:pt|bin)"
    r"|global_step\d+|.*_optim_states\.pt"
)
_ONLY_STATE = "weights are missing: there is only training state"
_OTHER_TORCH = re.compile(r".+\.(?:pt|pth|ckpt)")


def why_no_weights(files: Collection[str], folders: Collection[str]) -> str | None:
    """Return the problem of a folder without readable weights; None if it does not look like a checkpoint."""
    for form, what in _FOREIGN:
        if found := sorted(name for name in files if form.fullmatch(name)):
            return f"{shown(found[0])} is {what}, which cannot be read; convert it to a Hugging Face folder"
    state = [name for name in (*files, *folders) if _TRAINING_STATE.fullmatch(name)]
    others = sorted(name for name in files if _OTHER_TORCH.fullmatch(name) and name not in state)
    if others:
        return (
            f"{shown(others[0])} is in a format that cannot be read; convert it to a Hugging Face folder "
            "(save_pretrained)"
        )
    if state:
        return f"{_ONLY_STATE} ({some(state)})"
    return None


def is_training_state(problem: str | None) -> bool:
    """Return True if the problem is that there is only training state."""
    return problem is not None and problem.startswith(_ONLY_STATE)
