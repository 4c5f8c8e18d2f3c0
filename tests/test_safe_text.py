"""Foreign text reaches no terminal with control characters in it."""

from __future__ import annotations

from milepost.safe_text import blanked, fully_printable, printable


def test_control_characters_are_spelled_out() -> None:
    assert printable("a\x1b[31m\n\u202eb\ud800") == "a\\x1b[31m\\n\\u202eb\\ud800"


def test_joiners_are_kept_in_docs_and_spelled_out_in_messages() -> None:
    assert printable("a\u200db\u00a0c") == "a\u200db\u00a0c"
    assert fully_printable("a\u200db\u00a0c") == "a\\u200db\\xa0c"


def test_in_an_exceptions_text_they_become_spaces() -> None:
    assert blanked("a\x1b\nb") == "a  b"
