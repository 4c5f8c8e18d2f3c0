"""Addresses of the dashboard: pages as HTML and as JSON, errors in one shape, answers that browsers keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from milepost.web.pages import PAGES
from tests.cli.called import milepost


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_a_page_is_there_as_html_and_as_json(real: TestClient, name: str) -> None:
    html = real.get(f"/{name}", headers={"accept": "text/html"})
    assert html.status_code == 200
    assert html.headers["content-type"].startswith("text/html")
    assert "<h1>" in html.text
    twin = real.get(f"/{name}.json")
    assert twin.status_code == 200
    assert twin.headers["content-type"] == "application/json"
    assert twin.json() == real.get(f"/{name}", headers={"accept": "application/json"}).json()


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_the_data_of_a_page_is_what_its_schema_says(real: TestClient, name: str) -> None:
    document = real.get("/openapi.json").json()
    answer = document["paths"][f"/{name}.json"]["get"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    check = Draft202012Validator({**schema, "components": document["components"]})
    check.validate(real.get(f"/{name}.json").json())
    assert schema["$ref"].startswith("#/components/schemas/")


def test_the_overview_has_the_values_of_show(dashboard: TestClient, made_results: Path) -> None:
    shown = {
        json.dumps(row, sort_keys=True) for row in json.loads(milepost("show", made_results, "--json").out)
    }
    rows = dashboard.get("/overview.json").json()["rows"]
    assert rows
    assert {json.dumps(row, sort_keys=True) for row in rows if row["value"] is not None} <= shown


def test_the_address_without_a_path_is_the_overview(dashboard: TestClient) -> None:
    browser = {"accept": "text/html"}
    assert dashboard.get("/", headers=browser).text == dashboard.get("/overview", headers=browser).text


@pytest.mark.parametrize(
    "path", ["/nope", "/nope.json", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/..%2f..%2fetc/passwd"]
)
def test_what_is_not_there_is_a_404_with_a_message(dashboard: TestClient, path: str) -> None:
    answer = dashboard.get(path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert set(error) == {"status", "message", "hint"}
    assert error["status"] == 404


def test_a_browser_gets_an_error_as_a_page(dashboard: TestClient) -> None:
    answer = dashboard.get("/nope", headers={"accept": "text/html,*/*"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_what_a_browser_has_is_not_sent_again(dashboard: TestClient) -> None:
    first = dashboard.get("/runs.json")
    again = dashboard.get("/runs.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_long_answer_is_compressed_for_those_that_can_read_it(dashboard: TestClient) -> None:
    plain = dashboard.get("/overview.json", headers={"accept-encoding": "identity"})
    packed = dashboard.get("/overview.json", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json()
