"""Folders of DeepSpeed ZeRO (`global_stepN/`): files of the module's state and of each rank's optimizer.

The fp32 master weights are in the optimizer's files, so these belong to the model. transformers' Trainer has
such a folder in its `checkpoint-N`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from milepost.errors import CheckpointError
from milepost.sources.formats.deepspeed.metadata import (
    MODEL_STATES,
    OPTIM_STATES,
    missing_files,
    read_model_states,
    states_among,
)
from milepost.sources.formats.format import Contents, Format, Layout, complete
from milepost.sources.integrity import check_zip, first_refusal
from milepost.text.messages import shown

_TRAINER = "trainer_state.json"
_TRAINER_FOLDER = re.compile(r"global_step[0-9]+")


def deepspeed_folder(folder: Path) -> Path:
    """Return the folder with the files: the checkpoint's, or the one in the Trainer's `checkpoint-N`."""
    if any(folder.glob(f"*{MODEL_STATES}")):
        return folder
    inner = [path for path in folder.glob("global_step*") if _TRAINER_FOLDER.fullmatch(path.name)]
    return inner[0] if len(inner) == 1 else folder


def _recognise(contents: Contents) -> Layout | None:
    if _has_states(contents.files):
        return _states_in(contents.files, "")
    inner = [name for name in contents.folders if _TRAINER_FOLDER.fullmatch(name)]
    if _TRAINER in contents.files and len(inner) == 1:
        files = contents.inside(inner[0])
        return _states_in(files, f"{inner[0]}/") if _has_states(files) else None
    return None


def _has_states(files: Iterable[str]) -> bool:
    return any(name.endswith((MODEL_STATES, OPTIM_STATES)) for name in files)


def _states_in(files: Mapping[str, int], prefix: str) -> Layout:
    paths = {prefix + name: size for name, size in files.items()}
    states = sorted(name for name in paths if name.endswith((MODEL_STATES, OPTIM_STATES)))
    if not any(name.endswith(MODEL_STATES) for name in files):
        states.append(f"{prefix}mp_rank_00{MODEL_STATES}")
    return complete(paths, "deepspeed", tuple(states))


def _check(folder: Path, layout: Layout) -> str | None:
    if problem := first_refusal(folder, layout.weight_files, check_zip):
        return problem
    place = deepspeed_folder(folder)
    names = [name.rpartition("/")[2] for name in layout.weight_files]
    try:
        return missing_files(read_model_states(place / states_among(names, MODEL_STATES)[0]), names)
    except CheckpointError as error:
        return error.message.replace(shown(f"{folder}/"), "")


DEEPSPEED = Format(name="deepspeed", folder="deepspeed", recognise=_recognise, check=_check)
