"""Addresses in the environment that are none are told before a library stumbles over them."""

from __future__ import annotations

import httpx
import pytest

from milepost.errors import MilepostError
from milepost.network.environment_urls import check_endpoint, check_proxies, check_token


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


WRONG = {
    "HF_ENDPOINT": (
        check_endpoint,
        "HF_ENDPOINT is not an address",
        ["http://h:9x", "bob:S3CRETpw@h:9", "ftp://h", "http://", "h", "http://[::1"],
    ),
    "https_proxy": (
        check_proxies,
        "https_proxy is not an address of a proxy",
        ["bob:S3CRETpw@h:9x", "foo://h:9", "http://", "socks5://h:port"],
    ),
}


@pytest.mark.parametrize(
    ("name", "address"), [(name, address) for name, (*_, wrong) in WRONG.items() for address in wrong]
)
def test_an_address_that_cannot_be_used_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    check, message, _ = WRONG[name]
    monkeypatch.setenv(name, address)
    with pytest.raises(MilepostError, match=message) as told:
        check()
    assert "S3CRET" not in told.value.message


def test_an_empty_address_of_the_hub_is_told_to_a_program_that_has_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "")
    with pytest.raises(MilepostError, match="HF_ENDPOINT is set but empty"):
        check_endpoint()


def test_a_socks_proxy_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MilepostError, match="needs the package socksio"):
        check_proxies()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:3128", "h:3128", "https://bob:pw@h", "http://[::1]:3128"]
)
def test_addresses_that_libraries_take_are_taken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    monkeypatch.setenv("HF_ENDPOINT", "http://bob:pw@127.0.0.1:8000/hub/")
    check_proxies()
    check_endpoint()
    with httpx.Client(verify=False) as client:  # reads the proxies
        assert not client.is_closed


def test_a_hub_address_is_not_looked_for_where_the_endpoint_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from milepost.sources import discover

    monkeypatch.setenv("HF_ENDPOINT", "http://h:9x")
    with pytest.raises(MilepostError, match="HF_ENDPOINT is not an address"):
        discover("hf://org/name")


@pytest.mark.parametrize("token", ["hf_SECRETé", "hf_SECRET hf_other", "hf_SECRET\nhf_other"])
def test_a_token_that_no_header_can_hold_is_told_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(MilepostError, match="HF_TOKEN is not a token") as told:
        check_token()
    assert "SECRET" not in told.value.message
    monkeypatch.setenv("HF_TOKEN", "hf_SECRET\n")
    check_token()
