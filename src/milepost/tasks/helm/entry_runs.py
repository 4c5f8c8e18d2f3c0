"""The runs of all entries; whether HELM has them, and Milepost can do them, shows without a tokenizer."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from helm.benchmark.runner import set_benchmark_output_path

from milepost.errors import MissingDataError
from milepost.tasks.helm.entries import Entry
from milepost.tasks.helm.model_names import name_without_tokenizer
from milepost.tasks.helm.quiet import quiet
from milepost.tasks.helm.run_specs import NamedRun, Overrides, make_runs
from milepost.tasks.settings import TaskSettings

logger = logging.getLogger("milepost.tasks")


@functools.cache
def check_entries(settings: TaskSettings, entries: tuple[Entry, ...], data: Path) -> None:
    """Make the runs of some entries for a model that is only a name, once, to find what is wrong with them.

    Data that are missing are left for later where `settings` say to leave out what lacks them.

    Raises:
        MissingDataError: a file that prompts are made with cannot be had.
        TaskError: HELM does not know an entry, or it needs what Milepost does not do.
    """
    set_benchmark_output_path(str(data))
    for entry in entries:
        try:
            with quiet():
                make_runs(entry, name_without_tokenizer(), _overrides(settings), data / "scenarios")
        except MissingDataError:
            if not settings.skip_missing_data:
                raise


def runs_of(
    settings: TaskSettings,
    entries: Sequence[Entry],
    model: str,
    data: Path,
    left_out: list[MissingDataError],
) -> dict[str, NamedRun]:
    """Return the runs of all entries, by name, each once.

    Args:
        left_out: gets the errors of entries that lack data; see `leaving_out`.
    """
    set_benchmark_output_path(str(data))  # some run specs read, or download, how their prompts are made
    runs: dict[str, NamedRun] = {}
    for entry in entries:
        with quiet(), leaving_out(settings, left_out):
            for name, run in make_runs(entry, model, _overrides(settings), data / "scenarios").items():
                runs.setdefault(name, run)
    return runs


@contextlib.contextmanager
def leaving_out(settings: TaskSettings, left_out: list[MissingDataError]) -> Iterator[None]:
    """Note an entry whose data is missing, where `settings` say so, and warn of it."""
    try:
        yield
    except MissingDataError as error:
        if not settings.skip_missing_data:
            raise
        logger.warning("left out: %s", error.message)
        left_out.append(error)


def _overrides(settings: TaskSettings) -> Overrides:
    return Overrides(settings.helm_instances, settings.max_train_instances, settings.num_train_trials)
