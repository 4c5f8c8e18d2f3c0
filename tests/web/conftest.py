"""A dashboard to ask: results made up for the tests, served to a client in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from milepost.web.app import make_app
from milepost.web.safety import LOCAL, Rules
from tests.analysis.made import mmlu, perplexity, rising, write_results
from tests.web.real import run_texts, run_tiny

STEPS = [1000, 2000, 3000, 4000]
HOST = "http://127.0.0.1:8730"


def client_of(*results: Path, baselines: Path | None = None, rules: Rules = LOCAL) -> TestClient:
    """A client of a dashboard; an exception in the server is an answer 500, as for readers."""
    app = make_app(*results, baselines=baselines, rules=rules)
    return TestClient(app, base_url=HOST, raise_server_exceptions=False)


@pytest.fixture(scope="session")
def made_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series: `run` with a group of subjects, and `other` with one task and a perplexity."""
    figures = mmlu(STEPS, subjects=12)
    figures += rising("arc_easy", STEPS, low=0.25, high=0.6, n=500, series="other")
    figures += [perplexity(value=90 - step / 100, step=step, series="other") for step in STEPS]
    return write_results(tmp_path_factory.mktemp("web") / "results", figures)


@pytest.fixture(scope="session")
def real_results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a real run; see `tests.web.real`."""
    return run_tiny(tiny_run, tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def text_results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a real run whose answers are texts; see `tests.web.real`."""
    return run_texts(tiny_run, tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def texts(text_results: Path) -> Iterator[TestClient]:
    """A client of a dashboard of `text_results`."""
    with client_of(text_results) as client:
        yield client


@pytest.fixture(scope="session")
def real(real_results: Path) -> Iterator[TestClient]:
    """A client of a dashboard of `real_results`."""
    with client_of(real_results) as client:
        yield client


@pytest.fixture(scope="session")
def dashboard(made_results: Path) -> Iterator[TestClient]:
    """A client of a dashboard of `made_results`."""
    with client_of(made_results) as client:
        yield client
