"""Checkpoints, the series they belong to, and where their files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLocation:
    """One revision (and subfolder) of a repository on the Hugging Face Hub."""

    repo_id: str
    revision: str
    """Branch or tag as the user knows it."""
    commit: str
    """The commit of that revision when it was listed; this commit is downloaded."""
    subfolder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketLocation:
    """A folder of a bucket, as it was when it was listed."""

    address: str
    """`s3://bucket/runs/my-500m/checkpoint-1000`."""
    version: str
    """Hash of the names, sizes and versions of its objects; these are downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One set of weights at one step of a training run; the weights are not read yet."""

    series: str
    """Name of its training run; unique in one evaluation."""
    name: str
    """`checkpoint-10`, `step-400`, `iter_0002000`, `main`."""
    step: int | None
    """Last integer in the name; None without an integer."""
    source: str
    """Full address that a user could type: an absolute path, `hf://org/name@revision/subfolder` or
    `s3://bucket/folder`."""
    format: str
    """Format of the weights: the name of a format in `milepost.sources.formats`."""
    location: Path | HubLocation | BucketLocation
    size_bytes: int | None = None
    """Bytes of weights; None if the source does not say."""
    problem: str | None = None
    """Why it cannot be evaluated (a missing shard, no config); None if it looks complete."""
    config: Path | None = None
    """A config from the user, used in place of the one beside the weights."""
    base: Checkpoint | None = None
    """The base model of an adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The checkpoints of one training run, ordered by step."""

    name: str
    source: str
    """The SOURCE as given on the command line."""
    checkpoints: tuple[Checkpoint, ...]
    root: str = ""
    """Identity of the run: the absolute path of its folder, or `hf://org/name`."""


def step_order(step: int | None, name: str) -> tuple[bool, int, str]:
    """Sort key of checkpoints: by step, then by name; those without a step (`main`, `final`) come last."""
    return step is None, step or 0, name


class Visited(NamedTuple):
    """A checkpoint that a run has visited, whether or not it has metrics."""

    series: str
    checkpoint: str
    step: int | None
