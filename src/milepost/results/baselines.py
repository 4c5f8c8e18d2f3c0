"""Read published metrics of other models from a YAML file:

    SmolLM2-135M:
      source: https://huggingface.co/HuggingFaceTB/SmolLM2-135M
      arc_easy: {acc: 0.589, acc_norm: 0.581}
      hellaswag: 0.421                              # the metric that the task lists first

Tasks and metrics have lm_eval's names, shares are between 0 and 1. Whatever is wrong is told with its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.analysis.leaderboard.entries import Baseline, BoardColumn
from milepost.analysis.metric_kinds import value_range
from milepost.errors import ResultsError
from milepost.text.language import Phrase
from milepost.text.name_matching import close_or_first

if TYPE_CHECKING:
    import yaml

ABOUT = ("source", "note")
"""Keys of a model that are text for people."""


def read_baselines(path: Path, columns: Sequence[BoardColumn]) -> list[Baseline]:
    """Return the models of a YAML file, with their values in the columns of a leaderboard.

    A task that the results have, but that is not among `columns`, is left out.

    Args:
        columns: those that the results have; the first of a task is what a bare number is taken for.

    Raises:
        ResultsError: it cannot be read, is no YAML, or names a task, a metric or a value that cannot be;
            the line is named.
    """
    import yaml

    try:
        root = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        raise ResultsError(
            Phrase("--baselines: {path} does not exist", path=path),
            Phrase("give a YAML file of published scores, such as the one in docs/watch.md"),
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(
            Phrase(
                "--baselines {path}: {value}", path=path, value=getattr(error, "strerror", None) or "no text"
            )
        ) from error
    except RecursionError as error:
        raise ResultsError(Phrase("{path}: too many brackets in one another", path=path)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ResultsError(
            Phrase(
                "{path}{where}: {what}",
                path=path,
                where=where,
                what=getattr(error, "problem", None) or Phrase("no YAML"),
            )
        ) from error
    return _Reader(path, columns).models(root)


class _Reader:
    def __init__(self, path: Path, columns: Sequence[BoardColumn]) -> None:
        self.path = path
        self.of_task: dict[str, list[BoardColumn]] = {}
        for column in columns:
            self.of_task.setdefault(column.task, []).append(column)

    def models(self, root: yaml.Node | None) -> list[Baseline]:
        if root is None:
            raise ResultsError(
                Phrase("{path} is empty", path=self.path), "MODEL: {TASK: FIGURE}, one model after the other"
            )
        found = [self._model(key.value, node) for key, node in self._entries(root, "models")]
        if not found:
            raise ResultsError(
                Phrase("{path} names no model", path=self.path), "MODEL: {TASK: FIGURE}, one after the other"
            )
        return found

    def _model(self, name: str, node: yaml.Node) -> Baseline:
        source = None
        scores: dict[BoardColumn, float] = {}
        for key, value in self._entries(node, f"the tasks of {name}"):
            if key.value in ABOUT:
                source = str(value.value) if key.value == "source" else source
                continue
            columns = self.of_task.get(key.value)
            if columns is None:
                raise self._unknown(key, f"the results have no task {key.value}", self.of_task)
            scores |= self._values(key.value, value, columns)
        return Baseline(name=name, source=source, scores=scores)

    def _values(self, task: str, node: yaml.Node, columns: Sequence[BoardColumn]) -> dict[BoardColumn, float]:
        import yaml

        if isinstance(node, yaml.ScalarNode):
            return {columns[0]: self._number(node, columns[0])}
        metrics = {column.metric: column for column in reversed(columns)}
        found = {}
        for metric, value in self._entries(node, f"the metrics of {task}"):
            column = metrics.get(metric.value)
            if column is None:
                raise self._unknown(metric, f"{task} has no metric {metric.value} here", metrics)
            found[column] = self._number(value, column)
        return found

    def _number(self, node: yaml.Node, column: BoardColumn) -> float:
        try:
            value = float(node.value)
        except (TypeError, ValueError):
            what = Phrase("the {metric} of {task} is not a number", metric=column.metric, task=column.task)
            raise ResultsError(
                Phrase("{at}: {what}", at=self._at(node), what=what), "write it as 0.421"
            ) from None
        low, high = value_range(column.metric)
        if not low <= value <= high:
            hint = (
                Phrase("{right:g} instead of {value:g}", right=value / 100, value=value)
                if high == 1 and 1 < value <= 100
                else None
            )
            what = Phrase(
                "{value:g} cannot be the {metric} of {task}",
                value=value,
                metric=column.metric,
                task=column.task,
            )
            raise ResultsError(Phrase("{at}: {what}", at=self._at(node), what=what), hint)
        return value

    def _entries(self, node: yaml.Node, what: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            raise ResultsError(
                Phrase("{at}: {what} must be `name: value` pairs", at=self._at(node), what=what)
            )
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ResultsError(Phrase("{at}: a name must be plain text", at=self._at(key)))
            if key.value in seen:
                raise ResultsError(
                    Phrase("{at}: {value} stands there twice", at=self._at(key), value=key.value)
                )
            seen.add(key.value)
            yield key, value

    def _unknown(self, node: yaml.ScalarNode, what: str, there: Iterable[str]) -> ResultsError:
        near = close_or_first(node.value, there, n=3)
        return ResultsError(
            Phrase("{at}: {what}", at=self._at(node), what=what),
            Phrase("there is: {names}", names=", ".join(near)),
        )

    def _at(self, node: yaml.Node) -> str:
        return f"{self.path} line {node.start_mark.line + 1}"
