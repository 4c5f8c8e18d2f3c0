"""Run entries to HELM's RunSpecs; those that need a judge, a network service or pictures are refused.

Source: helm/benchmark/run.py `run_entries_to_run_specs` (0.5.16), which makes them.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from dataclasses import dataclass, replace
from pathlib import Path

from helm.benchmark.adaptation import adapter_spec as adapters
from helm.benchmark.metrics.metric import create_metric
from helm.benchmark.presentation.run_entry import RunEntry
from helm.benchmark.run import run_entries_to_run_specs
from helm.benchmark.run_expander import PERTURBATION_SPECS_DICT
from helm.benchmark.run_spec import RunSpec, discover_run_spec_functions, get_run_spec_function
from helm.common.object_spec import get_class_by_name
from helm.common.optional_dependencies import OptionalDependencyNotInstalled

from milepost.errors import TaskError
from milepost.tasks.helm.downloads import naming_downloads
from milepost.tasks.helm.entries import Entry
from milepost.tasks.helm.nltk_data import check_words, silent_downloads
from milepost.text.language import Phrase
from milepost.text.messages import one_line

METHODS = (
    adapters.ADAPT_GENERATION,
    adapters.ADAPT_LANGUAGE_MODELING,
    adapters.ADAPT_MULTIPLE_CHOICE_JOINT,
    adapters.ADAPT_MULTIPLE_CHOICE_JOINT_CHAIN_OF_THOUGHT,
    *adapters.ADAPT_MULTIPLE_CHOICE_SEPARATE_METHODS,
    adapters.ADAPT_RANKING_BINARY,
)
"""Ways to ask that Milepost answers."""
LEAVE_OUT = "leave it out"
SERVICES = ("make_critique_request", "check_nudity", "compute_clip_score", "metric_service.upload")
"""What a metric's module calls where it needs a network service."""


@dataclass(frozen=True, slots=True)
class NamedRun:
    """One run of an entry."""

    name: str
    """The entry, or, where it makes several runs, HELM's name of the run without the model."""
    entry: Entry
    run_spec: RunSpec


@dataclass(frozen=True, slots=True)
class Overrides:
    """HELM's options that change its run specs; None leaves what an entry has."""

    max_eval_instances: int | None = None
    max_train_instances: int | None = None
    num_train_trials: int | None = None


def make_runs(entry: Entry, model: str, overrides: Overrides, data: Path) -> dict[str, NamedRun]:
    """Return the runs of an entry, by name, for the model of that name, which is registered.

    Args:
        data: HELM's folder of scenarios, for messages.

    Raises:
        MissingDataError: a file that its prompts are made with cannot be had.
        TaskError: HELM does not know the entry, or it needs what Milepost does not do.
    """
    specs = _specs_of(entry, model, overrides, data)
    runs: dict[str, NamedRun] = {}
    for spec in specs:
        _check_runs_here(entry, spec)
        name = _task_name(entry.description if len(specs) == 1 else _without_model(spec.name, model))
        runs.setdefault(name, NamedRun(name, entry, spec))
    return runs


def _specs_of(entry: Entry, model: str, overrides: Overrides, data: Path) -> list[RunSpec]:
    name, colon, arguments = entry.description.partition(":")
    discover_run_spec_functions()
    if get_run_spec_function(name) is None:
        raise TaskError(Phrase("HELM knows no run entry {name!r}", name=name), _nearest(name))
    description = f"{name}:{arguments}{',' if colon else ''}model={model}"
    if overrides.max_train_instances is not None and "max_train_instances=" not in arguments:
        description += f",max_train_instances={overrides.max_train_instances}"
    groups = None if entry.groups is None else list(entry.groups)
    try:
        with naming_downloads(entry.description, data / name):
            specs: list[RunSpec] = run_entries_to_run_specs(
                [RunEntry(description, priority=1, groups=groups)],
                max_eval_instances=overrides.max_eval_instances,
                num_train_trials=overrides.num_train_trials,
            )
        return specs
    except TaskError:
        raise
    except Exception as error:  # run spec functions raise whatever their code meets
        _check_augmentation(entry)
        raise TaskError(
            Phrase(
                "HELM refuses the entry {entry!r}: {reason}",
                entry=entry.description,
                reason=one_line(error),
            ),
            _usage(name),
        ) from error


def _check_augmentation(entry: Entry) -> None:
    """Refuse perturbations that HELM does not have: its own message lists all that there are.

    Raises:
        TaskError: naming the nearest.
    """
    given = re.search(r"\bdata_augmentation=([^,]*)", entry.description)
    if given and given[1] not in PERTURBATION_SPECS_DICT:
        close = difflib.get_close_matches(given[1], PERTURBATION_SPECS_DICT, n=5, cutoff=0.5)
        raise TaskError(
            Phrase(
                "{entry}: HELM knows no data_augmentation {name!r}", entry=entry.description, name=given[1]
            ),
            Phrase("nearest: {names}", names=", ".join(close))
            if close
            else "HELM has canonical, robustness_all, lower, ...",
        )


def _nearest(name: str) -> str:
    from helm.benchmark.run_spec import _REGISTERED_RUN_SPEC_FUNCTIONS

    known = sorted(_REGISTERED_RUN_SPEC_FUNCTIONS)
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    if close:
        return Phrase("nearest: {names}", names=", ".join(close))
    return Phrase("HELM has {n}, such as mmlu, boolq, gsm", n=len(known))


def _usage(name: str) -> str:
    """Return the parameters of an entry, as its function in HELM has them."""
    function = get_run_spec_function(name)
    assert function is not None
    own = [str(parameter) for parameter in inspect.signature(function).parameters.values()]
    if not own:
        return Phrase("{name} takes HELM's expanders only, such as data_augmentation=", name=name)
    return Phrase(
        "{name} takes {arguments}, and HELM's expanders, such as data_augmentation=",
        name=name,
        arguments=", ".join(own),
    )


def _check_runs_here(entry: Entry, spec: RunSpec) -> None:
    """Refuse a run that needs more than a language model and code.

    Raises:
        MissingDataError: what its metrics need is not there.
        TaskError: naming what it needs.
    """
    if spec.adapter_spec.method not in METHODS:
        raise _refused(entry, Phrase("it asks by {method}", method=spec.adapter_spec.method), LEAVE_OUT)
    for annotator in spec.annotators or ():
        try:
            parameters = inspect.signature(get_class_by_name(annotator.class_name)).parameters
        except (ImportError, AttributeError, OptionalDependencyNotInstalled) as error:
            raise _refused(entry, one_line(error), "install it beside Milepost") from error
        if "auto_client" in parameters or "credentials" in parameters:
            judge = annotator.class_name.rsplit(".", 1)[-1]
            why = Phrase("{judge} lets another model judge the answers", judge=judge)
            raise _refused(entry, why, LEAVE_OUT)
    for metric in spec.metric_specs:
        short = metric.class_name.rsplit(".", 1)[-1]
        try:
            with silent_downloads():
                source = inspect.getsource(importlib.import_module(metric.class_name.rsplit(".", 1)[0]))
                create_metric(metric)
        except Exception as error:  # HELM's own wrapper, ImportError, or a metric that loads a model
            why = Phrase("its metric {metric} cannot be made: {reason}", metric=short, reason=one_line(error))
            raise _refused(entry, why, LEAVE_OUT) from error
        if any(service in source for service in SERVICES):
            why = Phrase("its metric {metric} asks a network service or another model", metric=short)
            raise _refused(entry, why, LEAVE_OUT)
    check_words(entry.description, spec)


def _refused(entry: Entry, why: str, hint: str) -> TaskError:
    return TaskError(
        Phrase("{entry} cannot be run here: {reason}", entry=entry.description, reason=why), hint
    )


def _task_name(description: str) -> str:
    """Return a name that no task of lm_eval has: `helm:boolq` for an entry without arguments."""
    return description if ":" in description else f"helm:{description}"


def _without_model(name: str, model: str) -> str:
    plain = f"model={model.replace('/', '_')}"
    return name.replace(f",{plain}", "").replace(f":{plain}", "").removesuffix(plain)


def rename_model(spec: RunSpec, model: str, new: str) -> RunSpec:
    """Return a run spec that names another model and deployment."""
    adapter = replace(spec.adapter_spec, model=new, model_deployment=new)
    plain = (f"model={part.replace('/', '_')}" for part in (model, new))
    return replace(spec, name=spec.name.replace(*plain), adapter_spec=adapter)
