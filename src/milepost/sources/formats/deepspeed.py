"""DeepSpeed ZeRO folders (`global_stepN/`): files of the module's state, and of each rank's optimizer.

The fp32 master weights lie in the optimizer's files, so these belong to the model. Source: DeepSpeed 0.19,
deepspeed/runtime/engine.py (`_get_ckpt_name`, `_get_zero_ckpt_name`) and utils/zero_to_fp32.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from milepost.sources.formats.format import Contents, Format, Layout, complete, not_yet
from milepost.sources.wholeness import check_zip, first_refusal

_MODEL_STATES = "_model_states.pt"
_OPTIM_STATES = "_optim_states.pt"
_RANK = re.compile(r"zero_pp_rank_(\d+)_mp_rank_(\d+)_")
_TRAINER = "trainer_state.json"
_TRAINER_FOLDER = re.compile(r"global_step[0-9]+")


def deepspeed_folder(folder: Path) -> Path:
    """The folder with the files: the checkpoint's own, or the one in a `checkpoint-N` of the Trainer."""
    if any(folder.glob(f"*{_MODEL_STATES}")):
        return folder
    inner = [path for path in folder.glob("global_step*") if _TRAINER_FOLDER.fullmatch(path.name)]
    return inner[0] if len(inner) == 1 else folder


def _recognise(contents: Contents) -> Layout | None:
    if _is_deepspeed(contents.files):
        return _states_in(contents.files, "")
    inner = [name for name in contents.folders if _TRAINER_FOLDER.fullmatch(name)]
    if _TRAINER in contents.files and len(inner) == 1:
        files = contents.inside(inner[0])
        return _states_in(files, f"{inner[0]}/") if _is_deepspeed(files) else None
    return None


def _is_deepspeed(files: Iterable[str]) -> bool:
    return any(name.endswith((_MODEL_STATES, _OPTIM_STATES)) for name in files)


def _states_in(files: Mapping[str, int], prefix: str) -> Layout:
    paths = {prefix + name: size for name, size in files.items()}
    wanted = sorted(
        {prefix + name for name in files if name.endswith((_MODEL_STATES, _OPTIM_STATES))}
        | {prefix + name for name in _promised(files)}
    )
    return complete(paths, "deepspeed", tuple(wanted))


def _promised(files: Iterable[str]) -> set[str]:
    """The files that the others speak of: one of each kind for every rank up to the last that has any."""
    names = [name for name in files if name.endswith((_MODEL_STATES, _OPTIM_STATES))]
    ranks = {int(form.group(1)) for name in names if (form := _RANK.search(name))}
    promised = set()
    for name in names:
        if form := _RANK.search(name):
            head, tail = name[: form.start(1)], name[form.end(1) :]
            promised |= {f"{head}{rank}{tail}" for rank in range(max(ranks) + 1)}
    if not any(name.endswith(_MODEL_STATES) for name in names):
        promised.add(f"mp_rank_00{_MODEL_STATES}")
    return promised


def _check(folder: Path, layout: Layout) -> str | None:
    return first_refusal(folder, layout.weight_files, check_zip)


DEEPSPEED = Format(
    name="deepspeed",
    recognise=_recognise,
    downloads=(
        f"*{_MODEL_STATES}",
        f"*{_OPTIM_STATES}",
        f"global_step*/*{_MODEL_STATES}",
        f"global_step*/*{_OPTIM_STATES}",
    ),
    check=not_yet,
)
