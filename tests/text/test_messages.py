"""Texts for messages and records: nothing in them that only its owner may know."""

from __future__ import annotations

import pytest

from milepost.text.credentials import redacted, without_secrets
from milepost.text.messages import first_line, one_line, shown

TOKEN = "hf_" + "aB3" * 11


@pytest.mark.parametrize(
    "text",
    [
        "http://alice:SECRET@127.0.0.1:9/org/name",
        "https://SECRET@mirror.example/x",
        "ftp://alice:SECRET@host",
        "cannot fetch https://cdn.example/f?X-Amz-Signature=SECRET&X-Amz-Credential=SECRET/eu&x=1",
        "https://host/x?access_token=SECRET",
        "https://host/x?a=1&api_key=SECRET'",
        "Authorization: Bearer SECRET",
        "sk-SECRET0123456789abcdef",
    ],
)
def test_credentials_are_masked_wherever_they_stand_in_an_address(text: str) -> None:
    assert "SECRET" not in without_secrets(text)
    assert "SECRET" not in shown(text)
    assert "SECRET" not in str(redacted({"a": [text, {"b": (text,)}], "c": 1}))


def test_tokens_of_the_hub_are_masked_and_addresses_of_it_are_not() -> None:
    assert without_secrets(f"HF_TOKEN={TOKEN}") == "HF_TOKEN=***"
    for plain in ("hf://gpt2@main", "hf://org/name@step-*", "runs/a@b:c", "tokens=3", "a?tokens=3&x=4"):
        assert without_secrets(plain) == plain
    assert redacted({"n": 3, "x": None, "t": True}) == {"n": 3, "x": None, "t": True}


FOREIGN = """Failure on the server:
Traceback (most recent call last):
  File "/a/long/path.py", line 7, in start
    raise RuntimeError(
RuntimeError: it did not start
"""


@pytest.mark.parametrize(
    ("error", "first", "whole"),
    [
        (ValueError("one\n\n  two"), "one", "one two"),
        (
            ValueError("this failed:\nthe reason\nmore"),
            "this failed: the reason",
            "this failed: the reason more",
        ),
        (ValueError(""), "ValueError", "ValueError"),
        (ValueError("\n"), "ValueError", "ValueError"),
        (ValueError("red\x1b[31m"), "red\\x1b[31m", "red\\x1b[31m"),
        (
            RuntimeError('it failed in f() (pid=1)\n  File "/a/b.py", line 3, in f\n    g()\nValueError: no'),
            "it failed in f() (pid=1)",
            "it failed in f() (pid=1) ValueError: no",
        ),
        (ValueError('bad\n  in "a.yaml", line 3, column 1'), "bad", 'bad in "a.yaml", line 3, column 1'),
        (
            RuntimeError(FOREIGN),
            "Failure on the server: RuntimeError: it did not start",
            "Failure on the server: RuntimeError: it did not start",
        ),
    ],
)
def test_an_error_is_one_printable_line_with_its_reason(error: Exception, first: str, whole: str) -> None:
    assert (first_line(error), one_line(error)) == (first, whole)


def test_a_line_that_is_cut_says_so() -> None:
    assert one_line("a" * 12, 10) == "a" * 10 + " …"
    assert one_line("a" * 10, 10) == "a" * 10
