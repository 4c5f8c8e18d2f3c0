"""The request states of a plan: read once for all checkpoints, as far as memory allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

import milepost
from milepost.plan.plan_files import load_plan
from milepost.run.metrics.checkpoint_metrics import planned_docs

from .conftest import MMLU


def asked(found: Any) -> list[tuple[str, str, int]]:
    """Return instance, prompt and place of each state."""
    return [(state.instance.id, state.request.prompt, place) for state, place in found]


def test_request_states_are_read_once_unless_they_are_too_many(
    run_folder: Path,
    helm_data: Path,
    helm_environment: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {"helm": MMLU, "max_eval_instances": 4, "helm_data": helm_data}
    milepost.save_plan(run_folder, (), tmp_path / "plan", **options)
    from milepost.tasks.helm import states

    plan = load_plan(tmp_path / "plan")
    stored = planned_docs(plan, plan.tasks[0])
    n_read = 0

    def columns() -> Mapping[str, Sequence[Any]]:
        nonlocal n_read
        n_read += 1
        return stored.columns()

    task = replace(stored, columns=columns)
    monkeypatch.setattr(states, "_KEPT", {})
    first, again = asked(states.states_of(task)), asked(states.states_of(task))
    assert n_read == 1
    assert first == again
    assert [place for _, _, place in first] == [0, 1, 2, 3]
    assert all(prompt.startswith("The following are") for _, prompt, _ in first)
    monkeypatch.setattr(states, "MOST_KEPT", 7)
    other = replace(task, docs_id="another")
    assert [asked(states.states_of(other)) for _ in range(2)] == [first, first]
    assert n_read == 3
