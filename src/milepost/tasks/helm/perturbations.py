"""Perturbations that read a file, such as a dictionary of a dialect, below HELM's output folder.

Source: helm/benchmark/augmentations/dialect_perturbation.py, person_name_perturbation.py (0.5.16), which fix
the folder when they are imported and write the file's path into the description of each perturbed instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from helm.benchmark.augmentations.data_augmenter import DataAugmenterSpec
from helm.benchmark.scenarios.scenario import Instance
from helm.common.object_spec import get_class_by_name

USUAL_DATA = "benchmark_output"
"""HELM's output folder where `helm-run` is given none."""


def folders_of(spec: DataAugmenterSpec, data: Path) -> list[str]:
    """Return the folders of the perturbations' files, and have HELM look there.

    Args:
        data: HELM's output folder.
    """
    kinds = [get_class_by_name(of.class_name) for of in spec.perturbation_specs]
    with_files = [kind for kind in kinds if hasattr(kind, "OUTPUT_PATH")]
    for kind in with_files:
        kind.OUTPUT_PATH = str(data / "perturbations" / kind.name)
    return [kind.OUTPUT_PATH for kind in with_files]


def named_alike(instances: Iterable[Instance], folders: Sequence[str]) -> list[Instance]:
    """Return instances whose descriptions name files as `helm-run` without an output folder does.

    So they are the same docs, and the same statistics, wherever the data lie.
    """
    return [_named_alike(instance, folders) for instance in instances]


def _named_alike(instance: Instance, folders: Sequence[str]) -> Instance:
    if instance.perturbation is None:
        return instance
    moved = {
        key: str(Path(USUAL_DATA, "perturbations", Path(value).relative_to(Path(folder).parent)))
        for key, value in asdict(instance.perturbation).items()
        for folder in folders
        if isinstance(value, str) and Path(folder) in Path(value).parents
    }
    return replace(instance, perturbation=replace(instance.perturbation, **moved)) if moved else instance
