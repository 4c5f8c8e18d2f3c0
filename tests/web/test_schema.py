"""Requests made up from the OpenAPI document: every answer is one that it has, and none is a 500."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.web.test_serving import served

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis needs Python 3.11")

N_EXAMPLES = int(os.environ.get("MILEPOST_FUZZ", "5"))


@pytest.fixture(scope="module")
def document(real_results: Path) -> Iterator[Any]:
    """The document of a dashboard of real results, which is there to be asked."""
    with served(real_results) as (_, url):
        yield schemathesis.openapi.from_url(f"{url}openapi.json")


def test_no_request_fails_and_every_answer_is_documented(document: Any) -> None:
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 8
    for operation in operations:

        @settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            case.call_and_validate()

        check()
