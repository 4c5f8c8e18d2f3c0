"""Parts of HELM's schemas are what the whole files say."""

from __future__ import annotations

from importlib import resources

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

import yaml

from milepost.tasks.helm.schemas import entries_of


@pytest.mark.parametrize("kind", ["metrics", "run_groups"])
def test_a_part_of_a_schema_is_what_the_whole_file_says(kind: str) -> None:
    files = [
        path for path in resources.files("helm.benchmark.static").iterdir() if path.name.startswith("schema_")
    ]
    parts = {path.name: entries_of(path.name, kind) for path in files}
    whole = {path.name: yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)[kind] for path in files}
    assert parts == whole
    assert len(parts) > 30
    assert all(parts.values())
