"""`Placement`: the options that say where a run's work is done. None of them changes a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from milepost.errors import MilepostError
from milepost.options import option, options_of
from milepost.text.language import Phrase

ExecutorChoice = Literal["local", "ray", "slurm"]
EXECUTORS: tuple[ExecutorChoice, ...] = get_args(ExecutorChoice)

_SHARED: dict[str, Any] = {
    "commands": frozenset({"run", "watch", "compare", "ppl"}),
    "changes_results": False,
}
"""Entries that all of these options share."""


def _workers(given: str | int) -> int | Literal["auto"]:
    if given == "auto":
        return "auto"
    try:
        number = int(given)
    except ValueError:
        number = 0
    if number < 1:
        raise MilepostError(
            Phrase("--workers {given!r} is not a number of workers", given=given),
            "pass auto or a number from 1",
        )
    return number


def _devices(given: str | Sequence[int]) -> tuple[int, ...]:
    words = [word.strip() for word in given.split(",")] if isinstance(given, str) else list(given)
    try:
        numbers = tuple(int(word) for word in words if word != "")
    except ValueError:
        numbers = (-1,)
    if any(number < 0 for number in numbers) or len(set(numbers)) < len(numbers):
        raise MilepostError(
            Phrase("--devices {given!r} is not a list of GPUs", given=given),
            "numbers such as 0,1,2, each once",
        )
    return numbers


def _named_values(given: str) -> tuple[tuple[str, str], ...]:
    pairs = [word.partition("=") for word in given.split(",") if word.strip()] if given else []
    if any(not equals or not name.strip() for name, equals, _ in pairs):
        raise MilepostError(
            Phrase("--slurm-options {given!r} is not a list of NAME=VALUE", given=given),
            "for example --slurm-options constraint=a100,nice=100",
        )
    return tuple((name.strip().lstrip("-"), value.strip()) for name, _, value in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The workers, devices and cluster that do the work of a run."""

    workers: int | Literal["auto"] | None = option(
        None,
        **_SHARED,
        metavar="auto|N",
        help="Processes that share the work: one per GPU, or on a CPU one per share of its cores. Without it,"
        " one per GPU where there are several.",
        parse=_workers,
    )
    devices: tuple[int, ...] = option(
        (),
        **_SHARED,
        metavar="0,1,...",
        help="The GPUs to use, one worker each.",
        parse=_devices,
        dump=lambda numbers: ",".join(map(str, numbers)),
    )
    device_map: Literal["auto"] | None = option(
        None,
        **_SHARED,
        metavar="auto",
        help="auto spreads each model over all GPUs of a worker, for models larger than one of them.",
    )
    executor: ExecutorChoice = option(
        "local",
        **_SHARED,
        metavar="local|ray|slurm",
        shows_default=True,
        help="Where workers run: on this machine, on a Ray cluster, in Slurm's job arrays.",
    )
    ray_address: str | None = option(
        None,
        **_SHARED,
        metavar="auto|ray://HOST:PORT",
        help="The Ray cluster, which must be running; without it the one of this machine or of RAY_ADDRESS.",
    )
    ray_local: bool = option(
        False, **_SHARED, help="Start a Ray for this run alone, on 127.0.0.1; says which ports it opens."
    )
    send_records: bool = option(
        False,
        **_SHARED,
        help="Send records from Ray's workers to this process, where they do not see the results folder.",
    )
    slurm_partition: str | None = option(None, **_SHARED, metavar="NAME", help="Partition of Slurm's jobs.")
    slurm_account: str | None = option(None, **_SHARED, metavar="NAME", help="Account of Slurm's jobs.")
    slurm_qos: str | None = option(
        None, **_SHARED, metavar="NAME", help="Quality of service of Slurm's jobs."
    )
    slurm_time: int = option(
        240, **_SHARED, metavar="MINUTES", shows_default=True, help="Time limit of each of Slurm's jobs."
    )
    slurm_gpus: int = option(
        1, **_SHARED, shows_default=True, help="GPUs of each of Slurm's jobs; 0 for a CPU."
    )
    slurm_cpus: int = option(4, **_SHARED, shows_default=True, help="Cores of each of Slurm's jobs.")
    slurm_options: tuple[tuple[str, str], ...] = option(
        (),
        **_SHARED,
        metavar="NAME=VALUE,...",
        help="Other options of sbatch, such as constraint=a100.",
        parse=_named_values,
        dump=lambda pairs: ",".join(f"{name}={value}" for name, value in pairs),
    )

    def __post_init__(self) -> None:
        if self.device_map not in (None, "auto"):
            raise MilepostError(Phrase("unknown device map {given!r}", given=self.device_map), "pass auto")
        if self.executor not in EXECUTORS:
            raise MilepostError(
                Phrase("unknown executor {executor!r}", executor=self.executor),
                "one of " + ", ".join(EXECUTORS),
            )
        self._check_ray()
        self._check_slurm()

    def _check_ray(self) -> None:
        if self.executor != "ray" and (self.ray_address is not None or self.ray_local or self.send_records):
            raise MilepostError(
                "--ray-address, --ray-local and --send-records are options of --executor ray",
                "add --executor ray, or leave them out",
            )
        if self.ray_local and self.ray_address is not None:
            raise MilepostError(
                "--ray-local starts a Ray, and --ray-address names one that runs", "leave out one of the two"
            )

    def _check_slurm(self) -> None:
        given = [
            described.flag
            for name, (declared, described) in options_of(Placement).items()
            if name.startswith("slurm_") and getattr(self, name) != declared.default
        ]
        if self.executor != "slurm" and given:
            raise MilepostError(
                Phrase("{option} is an option of --executor slurm", option=given[0]),
                "add --executor slurm, or leave it out",
            )
        if self.slurm_time < 1 or self.slurm_cpus < 1 or self.slurm_gpus < 0:
            raise MilepostError(
                "--slurm-time and --slurm-cpus are at least 1, --slurm-gpus at least 0", "leave them out"
            )

    @property
    def n_workers(self) -> int | None:
        """The number of workers that was asked for; None where it is left to the executor."""
        return None if self.workers == "auto" else self.workers

    @property
    def asks_for_workers(self) -> bool:
        """Return whether a number of workers, or the GPUs of one each, were chosen."""
        return self.workers is not None or bool(self.devices)
