"""Records are typed values: a file gives back what was written, and a wrong entry is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import ResultsError
from milepost.store import ResultsFolder
from milepost.store.atomic_files import write_json
from milepost.store.json_codec import decode, encode
from milepost.store.metrics_record import ChoiceMetrics, MetricRow, MetricsRecord
from milepost.store.reading import read_plan
from milepost.store.records import (
    CheckpointRecord,
    PlannedTask,
    PlanRecord,
    RunRecord,
    ShardRecord,
    read_record,
    write_record,
)
from milepost.types.metrics import MissingMetric

RUN = RunRecord(
    plan_id="p",
    series=("run",),
    checkpoints={"run": ("step-1", "step-2")},
    command="milepost run",
    config={"tasks": {"names": ["arc_easy"]}},
    versions={"torch": "2.13"},
    time=12.5,
)
TASK = PlannedTask(
    name="arc_easy",
    task_id="t",
    docs_id="d",
    n_docs=2,
    shards=(ShardRecord("s1", 0, 4), ShardRecord("s2", 4, 8)),
)
PLAN = PlanRecord(plan_id="p", tokenizer_id="k", max_length=64, settings={"asked": {}}, tasks=(TASK,))
CHECKPOINT = CheckpointRecord(series="run", name="step-1", step=None, model_id="m", numerics="float32-v1")
ROW = MetricRow(
    task="arc_easy",
    metric="acc",
    filter="none",
    value=None,
    stderr=0.5,
    n=2,
    chance=0.25,
    higher_is_better=None,
    kind="task",
    alias="arc",
    parents=("group",),
    num_fewshot=0,
    setting="x",
    doc_range=(0.0, 1.0),
)
METRICS = MetricsRecord(
    rows=(ROW,),
    choices=ChoiceMetrics(
        higher_is_better={"ece": False}, figures={"arc_easy": {"ece": [0.1, None, 2, None]}}
    ),
    missing={"piqa": 3},
    reasons=(MissingMetric("arc_easy", "acc", None, "NaN", "number"),),
)
HALF = {**encode(TASK), "shards": [["s", 0.5, 1]]}
TEXT = {**encode(ROW), "value": "0.5"}
KIND = {**encode(ROW), "kind": "x"}


@pytest.mark.parametrize("record", [RUN, PLAN, CHECKPOINT, METRICS], ids=lambda record: type(record).__name__)
def test_a_file_gives_back_the_record(record: Any, tmp_path: Path) -> None:
    path = ResultsFolder.create(tmp_path / "results").store / "runs" / "record.json"
    write_record(path, record)
    assert read_record(type(record), path) == record


def test_shards_and_rows_are_written_as_they_always_were() -> None:
    assert encode(PLAN)["tasks"][0]["shards"] == [["s1", 0, 4], ["s2", 4, 8]]
    row = encode(METRICS)["rows"][0]
    assert row["value"] is None
    assert row["parents"] == ["group"]
    assert "reason" not in row
    assert encode(CHECKPOINT)["checkpoint"] == "step-1"
    assert json.loads(json.dumps(encode(RUN)))["n_records"] == 1


@pytest.mark.parametrize(
    ("kind", "record", "entry", "value", "said"),
    [
        (RunRecord, RUN, "series", "run", "`series` is not a list"),
        (RunRecord, RUN, "checkpoints", {"run": [1]}, "`checkpoints.run.0` is not text"),
        (PlanRecord, PLAN, "max_length", True, "`max_length` is not a whole number"),
        (
            PlanRecord,
            PLAN,
            "tasks",
            [{**encode(TASK), "shards": [["s", 0.5, 1]]}],
            "`tasks.0.shards.0.first`",
        ),
        (CheckpointRecord, CHECKPOINT, "step", "9", "`step` is not a whole number or null"),
        (
            MetricsRecord,
            METRICS,
            "rows",
            [{**encode(ROW), "value": "0.5"}],
            "`rows.0.value` is not a number or null",
        ),
        (
            MetricsRecord,
            METRICS,
            "rows",
            [{**encode(ROW), "kind": "x"}],
            "`rows.0.kind` is not task or group",
        ),
        (MetricsRecord, METRICS, "missing", [], "`missing` is not an object"),
    ],
)
def test_an_entry_of_another_type_is_named(
    kind: type[Any], record: Any, entry: str, value: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    write_json(path, {**encode(record), entry: value})
    with pytest.raises(ResultsError, match=re.escape(f"cannot read {path}")) as refused:
        read_record(kind, path)
    assert said in refused.value.message
    assert refused.value.hint is not None


def test_an_entry_that_is_missing_is_named() -> None:
    entries = encode(ROW)
    del entries["task"]
    with pytest.raises(ResultsError, match=r"`rows\.0\.task` is missing"):
        decode(MetricsRecord, {"rows": [entries]})


def test_a_damaged_choice_metric_is_named_when_it_is_read() -> None:
    choices = ChoiceMetrics(
        figures={"arc_easy": {"ece": ["0.1", None, 2, None]}}, picks={"arc_easy": {"n": 1}}
    )
    with pytest.raises(ResultsError, match="`value` is not a number"):
        choices.estimates("arc_easy", {"ece"})
    with pytest.raises(ResultsError, match="`fixed` is missing"):
        choices.counts("arc_easy")


def test_records_of_the_first_versions_are_read(tmp_path: Path) -> None:
    results = ResultsFolder.create(tmp_path / "results")
    task = {"name": "arc_easy", "task_id": "t", "n_docs": 2, "n_requests": 8, "shards": [["s", 0, 8]]}
    write_json(results.plan_path("p"), {"plan_id": "p", "settings": {}, "tasks": [task], "later": "ignored"})
    read = read_plan(results, "p")
    assert (read.tasks[0].docs_id, read.tasks[0].counted_id) == ("t", "t")
    assert read.weighs_by_size("group", "acc")
    assert decode(RunRecord, {"plan_id": "p", "series": ["run"]}).n_records == 1
