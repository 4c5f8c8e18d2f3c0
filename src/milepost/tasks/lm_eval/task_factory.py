"""Build lm_eval's task objects from configs that were checked, and not from paths.

Source: lm_eval/tasks/_factory.py (`TaskFactory`), lm_eval/api/task.py (`ConfigurableTask`), 0.4.13.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lm_eval.tasks._factory
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry

from milepost.errors import MissingDataError, TaskError
from milepost.tasks.lm_eval.checks import CheckedTasks
from milepost.tasks.lm_eval.data_state import cannot_get, data_ref, data_state, hub_errors, local_data_files
from milepost.tasks.lm_eval.faults import blaming_the_task
from milepost.tasks.lm_eval.function_tags import with_code
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase
from milepost.text.messages import one_line

SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


class CheckedTask(ConfigurableTask):
    """lm_eval's task with the current content of its data files, and with checked splits."""

    def __init__(self, config: dict[str, Any], *, is_own: bool) -> None:
        self.is_own = is_own
        self.data_states: dict[str, str | None] = {}
        name = str(config.get("task"))
        with blaming_the_data(name), blaming_the_task(name, self, is_own=is_own):
            super().__init__(config=config)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        given = dict(dataset_kwargs or {})
        # As lm_eval does for versions of datasets without this argument; beside HELM it is an older one.
        given.pop("trust_remote_code", None)
        if self.DATASET_PATH is not None and not callable(self.config.custom_dataset):
            ref = data_ref(self.DATASET_PATH, given)
            if local_data_files(ref):
                state = data_state(ref)
                self.data_states[data_key(ref)] = state
                if state is not None:
                    given.setdefault("cache_dir", _cache_of(state))
        super().download(given, **kwargs)
        self._check_splits()

    def _check_splits(self) -> None:
        if not hasattr(self.dataset, "keys"):
            return
        splits = [str(split) for split in self.dataset]
        wanted = {key: self.get_config(key) for key in SPLITS}
        wanted["the split of fewshot_config"] = self.fewshot_cfg.split
        for key, split in wanted.items():
            if split is not None and split not in splits:
                present = ", ".join(splits) or "no splits"
                raise TaskError(
                    Phrase(
                        "task {task}: {key} is {split!r}, its data has {present}",
                        task=self.config.task,
                        key=key,
                        split=split,
                        present=present,
                    ),
                    Phrase(
                        "name one of these, or list its files in dataset_kwargs: data_files: "
                        "{{{split}: FILE}}",
                        split=split,
                    ),
                )


class CheckedFactory(TaskFactory):
    """Builds tasks from checked content and does not open the user's files again."""

    def __init__(self, checked: CheckedTasks, settings: TaskSettings) -> None:
        super().__init__(meta=dict(settings.metadata))
        self._own = {config.path: config.content for _, config in checked.own()}
        self._is_own = settings.include_path is not None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let lm_eval build `CheckedTask`s, also within groups, while the block runs."""
        original = lm_eval.tasks._factory.ConfigurableTask
        lm_eval.tasks._factory.ConfigurableTask = self._made
        try:
            yield
        finally:
            lm_eval.tasks._factory.ConfigurableTask = original

    def _made(self, config: dict[str, Any]) -> ConfigurableTask:
        return CheckedTask(with_code(config), is_own=self._is_own)

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        content = self._own.get(entry.yaml_path)
        if content is None:
            loaded: dict[str, Any] = super()._load_full_config(entry, with_code(overrides))
            return loaded
        given = replace(entry, yaml_path=None, cfg=with_code(dict(content)))
        loaded = super()._load_full_config(given, with_code(overrides))
        loaded["metadata"]["config_source"] = str(entry.yaml_path)
        return loaded

    def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Task:
        before, self._is_own = self._is_own, entry.yaml_path in self._own or bool(overrides)
        try:
            with blaming_the_data(entry.name), blaming_the_task(entry.name, is_own=self._is_own):
                task = super()._build_task(entry, overrides)
            task.is_own = self._is_own
            return task
        finally:
            self._is_own = before


def data_key(ref: Mapping[str, Any]) -> str:
    """Return a key that is the same for references to the same data set."""
    return json.dumps(ref, sort_keys=True, default=str)


def _cache_of(state: str) -> str:
    """Return a cache folder for the content of files; datasets itself compares only path and time stamp."""
    import datasets.config

    return str(Path(datasets.config.HF_DATASETS_CACHE) / "by-content" / state[:32])


@contextmanager
def blaming_the_data(name: str) -> Iterator[None]:
    """Turn exceptions of datasets and huggingface_hub in the block into faults of the task's data.

    Raises:
        TaskError: in place of the exception.
    """
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    try:
        yield
    except (DatasetGenerationError, StopIteration) as error:
        reason = one_line(str(error.__cause__ or error) or "it is empty", 300)
        raise MissingDataError(
            name,
            Phrase("task {name}: its data cannot be read: {reason}", name=name, reason=reason),
            "look at the files that its dataset_path and dataset_kwargs name",
        ) from error
    except (DatasetNotFoundError, *hub_errors()) as error:
        raise cannot_get(name, error) from error
    except RuntimeError as error:
        if "Dataset scripts" not in str(error):
            raise
        raise MissingDataError(
            name,
            Phrase(
                "task {name}: its dataset_path holds a script that loads the data, and "
                "datasets does not run scripts any more",
                name=name,
            ),
            "name the data files themselves: `dataset_path: json` and, in dataset_kwargs, `data_files`",
        ) from error
    except ValueError as error:
        if "Couldn't find cache" in str(error) or "BuilderConfig" in str(error):
            raise cannot_get(name, error) from error
        raise
