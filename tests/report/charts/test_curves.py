"""Learning curves as specs: what is drawn, in what look, with honest axes and gaps."""

from __future__ import annotations

import json
from typing import Any

import pytest
import vl_convert

from milepost.analysis import rows
from milepost.report.charts.curves import curve
from milepost.report.charts.remarks import remarks
from milepost.report.charts.theme import DASHES, PALETTE, SHAPES
from milepost.report.vega import vegalite_version
from tests.analysis.made import accuracy, measurement, mmlu, perplexity


def spec_of(found: Any, **options: Any) -> Any:
    return curve(rows(found), **options).to_dict()


def layers_of(panel: Any, kind: str) -> Any:
    return [layer for layer in panel["layer"] if layer["mark"]["type"] == kind]


def records_of(spec: Any, panel: Any = 0) -> Any:
    return spec["datasets"][f"panel-{panel}"]


def test_there_is_a_panel_per_task_with_its_name_metric_and_best() -> None:
    found = [accuracy(value=v, n=1000, task="hellaswag", step=s) for s, v in ((1, 0.3), (2, 0.4))]
    found += [perplexity(value=9.5, step=2)]
    first, second = spec_of(found)["concat"]
    assert first["title"]["text"] == ["hellaswag"]
    assert first["title"]["subtitle"] == ["acc ↑ · best 0.4000 ± 0.0304 at step 2"]
    assert second["title"]["subtitle"] == ["word_perplexity ↓ (log) · 9.5000"]


def test_each_panel_has_its_own_y_axis_and_an_accuracy_axis_spans_a_fifth() -> None:
    found = [accuracy(value=0.25, n=10**6, step=s) for s in (1, 2)] + [perplexity(value=30.0, step=1)]
    spec = spec_of(found)
    domains = [layers_of(panel, "line")[0]["encoding"]["y"]["scale"]["domain"] for panel in spec["concat"]]
    assert domains[0] == pytest.approx([0.15, 0.35])
    assert domains[1][0] < 30 < domains[1][1]


def test_chance_is_a_dashed_line_with_a_label() -> None:
    (panel,) = spec_of([measurement(chance=0.25)])["concat"]
    rule = next(layer for layer in layers_of(panel, "rule") if layer["mark"].get("style") == "chance")
    label = layers_of(panel, "text")[0]
    assert (
        rule["data"]["values"] == label["data"]["values"] == [{"chance": 0.25, "label": ["chance", "0.25"]}]
    )
    assert spec_of([measurement(chance=0.25)])["config"]["style"]["chance"]["strokeDash"] == [5, 4]


def test_a_metric_without_chance_level_has_no_such_line() -> None:
    (panel,) = spec_of([perplexity(value=20.0)])["concat"]
    assert layers_of(panel, "text") == []


def test_a_gap_is_a_point_without_value_so_that_line_and_band_break() -> None:
    found = [accuracy(value=0.3, n=50, task="a", step=s) for s in (1, 2, 3)]
    found += [accuracy(value=0.3, n=50, task="b", step=s) for s in (1, 3)]
    drawn = records_of(spec_of(found), panel=1)
    assert [(r["step"], r["value"], r["ci_low"] is None, r["alone"]) for r in drawn] == [
        (1, 0.3, False, True),
        (2, None, True, False),
        (3, 0.3, False, True),
    ]


def test_a_step_that_an_evenly_spaced_series_lacks_is_a_gap_and_said() -> None:
    found = rows([accuracy(value=0.3, n=50, step=step) for step in (10, 20, 40, 50)])
    drawn = records_of(curve(found).to_dict())
    assert [(r["step"], r["value"]) for r in drawn] == [
        (10, 0.3),
        (20, 0.3),
        (30, None),
        (40, 0.3),
        (50, 0.3),
    ]
    assert remarks(found) == ["gap, no metrics: step 30"]


def test_series_differ_in_colour_and_shape_and_dash() -> None:
    found = [accuracy(value=0.3, n=50, series=f"run-{i}", step=s) for i in range(9) for s in (1, 2)]
    (panel,) = spec_of(found)["concat"]
    line, point = layers_of(panel, "line")[0]["encoding"], layers_of(panel, "point")[0]["encoding"]
    looks = list(
        zip(
            line["color"]["scale"]["range"],
            map(tuple, line["strokeDash"]["scale"]["range"]),
            point["shape"]["scale"]["range"],
            strict=True,
        )
    )
    assert len(set(looks)) == 9
    assert line["color"]["legend"]["orient"] == "top"


def test_280_series_look_different() -> None:
    looks = {(i % len(PALETTE), i % len(SHAPES), i % len(DASHES)) for i in range(280)}
    assert len(looks) == 280


def test_a_series_alone_needs_no_legend() -> None:
    (panel,) = spec_of([measurement()])["concat"]
    assert layers_of(panel, "line")[0]["encoding"]["color"]["legend"] is None


def test_one_checkpoint_is_a_point_with_a_bar_and_says_so() -> None:
    spec = spec_of([measurement()])
    assert records_of(spec)[0]["alone"]
    assert spec["title"]["subtitle"] == ["bar: 95 % interval · dashed: chance", "one checkpoint: no curve"]


def test_steps_are_linear_unless_asked() -> None:
    found = [accuracy(value=0.3, n=50, step=s) for s in (1, 10, 1000)]
    (linear,), (log,) = spec_of(found)["concat"], spec_of(found, log_x=True)["concat"]
    assert "type" not in layers_of(linear, "line")[0]["encoding"]["x"]["scale"]
    assert layers_of(log, "line")[0]["encoding"]["x"]["scale"]["type"] == "log"


def test_step_0_is_left_off_a_log_axis_with_notice() -> None:
    found = [accuracy(value=0.3, n=50, step=s) for s in (0, 10, 1000)]
    assert [r["step"] for r in records_of(spec_of(found, log_x=True))] == [10, 1000]
    assert remarks(rows(found), log_x=True) == ["not drawn, a log axis has no place for it: step 0"]
    assert remarks(rows(found)) == []


def test_step_0_alone_is_drawn_even_if_a_log_axis_was_asked_for() -> None:
    found = [measurement(step=0)]
    assert [r["step"] for r in records_of(spec_of(found, log_x=True))] == [0]
    assert remarks(rows(found), log_x=True) == ["one checkpoint: no curve"]


def test_a_task_without_any_value_has_an_empty_panel_that_says_so() -> None:
    (panel,) = spec_of([measurement(value=None, stderr=None, step=s) for s in (1, 2)])["concat"]
    assert panel["title"]["subtitle"] == ["acc ↑ · no value at any checkpoint"]


def test_a_checkpoint_without_step_is_left_out_of_a_run_with_steps_with_notice() -> None:
    found = [*(accuracy(value=0.3, n=50, step=s) for s in (1, 2)), measurement(step=None, checkpoint="main")]
    spec = spec_of(found)
    assert [r["step"] for r in records_of(spec)] == [1, 2]
    assert "not drawn, no step in the name: main" in spec["title"]["subtitle"]


def test_checkpoints_without_any_step_stand_side_by_side_under_their_names() -> None:
    found = [measurement(step=None, checkpoint=name) for name in ("base", "chat")]
    (panel,) = spec_of(found)["concat"]
    assert layers_of(panel, "line")[0]["encoding"]["x"]["field"] == "checkpoint"


def test_long_names_are_wrapped_not_cut() -> None:
    name = "leaderboard_instruction_following_with_a_name_that_is_far_too_long_for_a_panel_of_any_size_here"
    (panel,) = spec_of([measurement(task=name)])["concat"]
    assert len(panel["title"]["text"]) == 2
    assert "".join(panel["title"]["text"]) == name


def test_the_specs_are_what_vega_lite_draws_without_complaint() -> None:
    found = mmlu([1000, 2000, 4000], subjects=3) + [perplexity(value=9e4 / s, step=s) for s in (1000, 4000)]
    spec = json.loads(json.dumps(spec_of(found, title="All of it"), allow_nan=False))
    svg = vl_convert.vegalite_to_svg(spec, vl_version=vegalite_version())
    for words in ("All of it", "mmlu_social_sciences", "chance", "0.25", "word_perplexity ↓", "step"):
        assert words in svg
    assert "NaN" not in svg
