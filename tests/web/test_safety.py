"""Requests from elsewhere get no answer, and pages can load nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from milepost.web.safety import Rules, is_loopback, rules_for
from tests.web.conftest import client_of


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(dashboard: TestClient, method: str) -> None:
    assert dashboard.request(method, "/runs").status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[", ""]
)
def test_another_name_for_this_machine_is_refused(dashboard: TestClient, host: str) -> None:
    answer = dashboard.get("/runs.json", headers={"host": host})
    assert answer.status_code == 403
    assert "another name" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost:9999", "127.0.0.1", "[::1]:8730", "LOCALHOST", "localhost."])
def test_a_forwarded_port_on_this_machine_is_answered(dashboard: TestClient, host: str) -> None:
    assert dashboard.get("/runs.json", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:9", "null", "https://[", "file://"]
)
def test_a_request_by_a_page_of_another_site_is_refused(dashboard: TestClient, origin: str) -> None:
    assert dashboard.get("/events", headers={"origin": origin}).status_code == 403


def test_a_request_by_a_page_of_its_own_is_answered(dashboard: TestClient) -> None:
    assert dashboard.get("/runs.json", headers={"origin": "http://127.0.0.1:8730"}).status_code == 200


def test_another_site_may_link_here_and_not_read(dashboard: TestClient) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert dashboard.get("/runs", headers=link).status_code == 200
    for other in ({"sec-fetch-mode": "no-cors"}, {"sec-fetch-dest": "iframe"}):
        assert dashboard.get("/runs", headers=link | other).status_code == 403


@pytest.mark.parametrize("path", ["/", "/runs.json", "/static/style.css", "/nope"])
def test_every_answer_says_that_only_this_server_may_be_loaded_from(dashboard: TestClient, path: str) -> None:
    policy = dashboard.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy


def test_pages_have_no_script_and_no_style_of_their_own(dashboard: TestClient) -> None:
    html = dashboard.get("/", headers={"accept": "text/html"}).text
    assert "<style" not in html
    assert " style=" not in html
    assert " onclick" not in html
    assert "<script>" not in html


def test_a_server_for_others_asks_for_the_token_of_its_address(made_results: Path) -> None:
    rules = rules_for("0.0.0.0", "secret")
    with client_of(made_results, rules=rules) as client:
        host = {"host": "10.1.2.3:8730"}
        assert client.get("/runs.json", headers=host).status_code == 401
        assert client.get("/runs.json?token=wrong", headers=host).status_code == 401
        assert client.get("/static/style.css", headers=host).status_code == 401
        bearer = {"authorization": "Bearer secret"}
        assert client.get("/runs.json", headers=host | bearer).status_code == 200
        first = client.get("/runs.json?token=secret", headers=host)
        assert first.status_code == 200
        cookie = first.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        kept = {"cookie": cookie.partition(";")[0]}
        assert client.get("/runs.json", headers=host | kept).status_code == 200
        assert client.get("/runs.json", headers={"host": "evil.example"} | kept).status_code == 403


def test_the_token_stands_in_no_page(made_results: Path) -> None:
    with client_of(made_results, rules=Rules(token="secret")) as client:
        for page in ("/", "/runs"):
            assert "secret" not in client.get(f"{page}?token=secret", headers={"accept": "text/html"}).text


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True)])
def test_this_machine_alone_needs_no_token(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gpu-box"])
def test_every_other_place_is_open_to_others(host: str) -> None:
    assert not is_loopback(host)
