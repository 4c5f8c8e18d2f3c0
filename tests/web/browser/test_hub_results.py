"""Every page on results of real models, two series in two folders: the values are those of the commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from milepost.report.formatting import decimals, metric_heading, number, signed
from milepost.web.pages import PAGES
from tests.cli.called import milepost
from tests.web.browser.conftest import Watched, faults_of, wait_for_charts
from tests.web.browser.hub_results import HubResults

ADDRESSES = (
    *(kind.name for kind in PAGES),
    "question?task=gsm8k",
    "question?task=lambada_openai",
    "runs?checkpoint=english-4m/step-1600",
    "nope",
)
Browse = Callable[..., Watched]


def said(*arguments: object) -> Any:
    return json.loads(milepost(*arguments, "--json").out)


def rows_of(page: Any, within: str = "main") -> list[list[str]]:
    """The texts of all table rows, row by row."""
    found: list[list[str]] = page.evaluate(
        "(within) => [...document.querySelectorAll(`${within} tr`)]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent.trim()))",
        within,
    )
    return found


TEXTS_CUT = """(charts) => charts.flatMap((svg) => {
  const whole = svg.getBoundingClientRect();
  const isCut = (text) => {
    const own = text.getBoundingClientRect();
    return text.textContent && (own.left < whole.left - 1 || own.right > whole.right + 1);
  };
  return [...svg.querySelectorAll("text")].filter(isCut).map((text) => text.textContent);
})"""
"""The texts of charts that do not fit into their chart."""


def has_row(rows: Sequence[Sequence[str]], *texts: str) -> bool:
    return any(all(any(text in cell for cell in row) for text in texts) for row in rows)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_axe_finds_no_fault(
    browse: Browse, hub_url: str, axe: str, address: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    watched = browse(hub_url, color_scheme=scheme, bypass_csp=True)
    assert faults_of(watched.open(f"/{address}"), axe) == []
    if address == "nope":
        watched.faults.clear()  # the browser writes each 404 to its console


@pytest.mark.parametrize("address", ADDRESSES[:-1])
def test_a_phone_is_wide_enough(browse: Browse, hub_url: str, address: str) -> None:
    page = browse(hub_url, viewport={"width": 390, "height": 800}).open(f"/{address}")
    wait_for_charts(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".plot svg").evaluate_all(TEXTS_CUT) == []


def test_the_overview_has_the_values_of_show(browse: Browse, hub_url: str, of_hub: HubResults) -> None:
    page = browse(hub_url).open("/overview")
    shown = [*said("show", of_hub.run, "--summary"), *said("show", of_hub.pruned, "--summary")]
    assert len(shown) > 5
    for curve in shown:
        section = page.locator("section").filter(
            has=page.get_by_role("heading", name=curve["series"], exact=True)
        )
        text = section.locator(".card").filter(has=page.get_by_role("link", name=curve["task"], exact=True))
        value = number(curve["last"]["value"], curve["metric"])
        assert value in [each.inner_text() for each in text.locator(".figure b").all()]


def test_the_curves_and_their_tables_have_the_values_of_show(
    browse: Browse, hub_url: str, of_hub: HubResults
) -> None:
    page = browse(hub_url).open("/curves?task=arc_easy&metric=acc")
    page.locator("summary", has_text="The values as a table").click()
    rows = rows_of(page, "figure.chart")
    for row in said("show", of_hub.run, "-t", "arc_easy", "--metric", "acc"):
        assert has_row(rows, str(row["step"]), number(row["value"], "acc"))
    (pruned,) = said("show", of_hub.pruned, "-t", "arc_easy", "--metric", "acc")
    assert has_row(rows, pruned["checkpoint"], number(pruned["value"], "acc"))
    drawn = page.locator(".plot svg").evaluate("(svg) => svg.textContent")
    assert pruned["series"] in drawn


def test_the_subjects_have_the_values_of_show(browse: Browse, hub_url: str, of_hub: HubResults) -> None:
    page = browse(hub_url).open("/subjects?series=english-4m&metric=acc")
    page.locator("summary", has_text="The values as a table").click()
    rows = rows_of(page, "figure.chart")
    of_task: dict[str, list[dict[str, Any]]] = {}
    for row in said("show", of_hub.run, "--series", "english-4m", "--metric", "acc", "--all"):
        of_task.setdefault(row["task"], []).append(row)
    assert "arc_easy" in of_task
    for task, own in of_task.items():
        ends = [number(row["value"], "acc") for row in (own[0], own[-1])]
        gain = signed(own[-1]["value"] - own[0]["value"], "acc", beside=own[-1]["value"])
        assert has_row(rows, task, *ends, gain)


def test_the_questions_are_those_of_the_command(browse: Browse, hub_url: str, of_hub: HubResults) -> None:
    page = browse(hub_url).open("/questions?task=arc_easy&series=english-4m&kind=all")
    rows = rows_of(page)
    for doc in said("questions", of_hub.run, "-t", "arc_easy", "-n", 16):
        picks = "".join(chr(ord("A" if own["is_right"] else "a") + own["pick"]) for own in doc["checkpoints"])
        margin = decimals(doc["checkpoints"][-1]["margin"], 2)
        assert ["arc_easy", str(doc["doc_id"])] == next(
            row[:2] for row in rows if row[3:] == [picks, margin] and row[1] == str(doc["doc_id"])
        )


@pytest.mark.parametrize("task", ["gsm8k", "squadv2", "lambada_openai"])
def test_a_question_says_what_was_asked_and_answered(
    browse: Browse, hub_url: str, of_hub: HubResults, task: str
) -> None:
    page = browse(hub_url).open(f"/question?task={task}&series=english-4m&doc=0")
    page.evaluate("document.querySelectorAll('main details').forEach((each) => (each.open = true))")
    (doc,) = said("questions", of_hub.run, "-t", task, "--doc-id", 0)
    text = page.locator("main").evaluate("(main) => main.textContent")
    for asked in doc["requests"]:
        assert asked["context"] in text
    rows = rows_of(page)
    for own in doc["checkpoints"]:
        assert own["written"] in text
        assert has_row(rows, str(own["step"]), own["text"].strip(), decimals(own["value"], 3))


def test_a_comparison_of_two_folders_is_that_of_the_command(
    browse: Browse, hub_url: str, of_hub: HubResults
) -> None:
    page = browse(hub_url).open("/compare")
    page.evaluate("document.querySelectorAll('main details').forEach((each) => (each.open = true))")
    expected = json.loads(of_hub.compared)["variants"][0]
    assert page.locator("select[name=a]").input_value() == "english-4m/step-1600"
    rows = rows_of(page)
    for found in expected["tasks"]:
        values = [number(found[name], found["metric"]) for name in ("original", "other")]
        assert has_row(rows, found["task"], found["verdict"], *values, f"{found['docs']['common']:,}")
    behind = rows_of(page, "figure.chart")
    heading = metric_heading("acc", "none", True)
    assert has_row(behind, "arc_easy", heading)
    assert "docs in common" in page.locator("figcaption").first.inner_text()
    assert page.locator("figure.chart").count() >= 2
    assert has_row(rows, expected["name"], f"{expected['n_parameters']:,}")


def test_the_leaderboard_is_that_of_the_command(browse: Browse, hub_url: str, of_hub: HubResults) -> None:
    page = browse(hub_url).open("/leaderboard?task=arc_easy")
    rows = rows_of(page)
    for model in said("leaderboard", of_hub.run, of_hub.pruned, "-t", "arc_easy")["models"]:
        win_rate = f"{model['win_rate']['value']:.3f}"
        assert has_row(rows, model["name"], win_rate, number(model["scores"]["arc_easy.acc"], "acc"))


def test_published_values_stand_beside_the_results(
    browse: Browse, serve: Callable[..., str], of_hub: HubResults, tmp_path: Path
) -> None:
    published = tmp_path / "published.yaml"
    published.write_text("A published model:\n  arc_easy: {acc: 0.875}\n")
    address = serve(of_hub.run, "--baselines", str(published))
    page = browse(address).open("/curves?task=arc_easy&metric=acc")
    wait_for_charts(page)
    assert "A published model 0.875" in page.locator(".plot svg").evaluate("(svg) => svg.textContent")
    page = browse(address).open("/leaderboard?task=arc_easy")
    assert has_row(rows_of(page), "A published model", "0.8750")


def test_the_signal_is_that_of_the_command(browse: Browse, hub_url: str, of_hub: HubResults) -> None:
    page = browse(hub_url).open("/signal")
    for rated in said("signal", of_hub.run):
        section = page.locator("section").filter(
            has=page.get_by_role("heading", name=rated["series"], exact=True)
        )
        card = section.locator(".card").filter(has=page.get_by_role("link", name=rated["task"], exact=True))
        assert rated["verdict"] in card.inner_text()


def test_the_perplexities_are_those_of_the_command(browse: Browse, hub_url: str, of_hub: HubResults) -> None:
    rows = rows_of(browse(hub_url).open("/perplexity"))
    (row,) = said("show", of_hub.run, "-t", "ppl_fixed", "--metric", "token_perplexity")
    assert has_row(rows, "fixed windows", number(row["value"], "token_perplexity"))


def test_the_runs_say_what_each_checkpoint_took(browse: Browse, hub_url: str, of_hub: HubResults) -> None:
    rows = rows_of(browse(hub_url).open("/runs"))
    records = sorted((of_hub.run / "store" / "checkpoints").rglob("*.json"))
    assert records
    for path in records:
        record = json.loads(path.read_text())
        assert record["peak_memory"] > 50e6
        assert record["scoring_s"] > 0
        memory = f"{record['peak_memory'] / 1e6:.3g} MB"
        assert has_row(rows, record["checkpoint"], record["engine"], f"{record['n_parameters']:,}", memory)
