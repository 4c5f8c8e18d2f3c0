"""Foreign text reaches no terminal with control characters in it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from milepost.text.safe_text import blanked, encode_safely, fully_printable, printable
from tests.analysis.made import rising, write_results


def test_control_characters_are_spelled_out() -> None:
    assert printable("a\x1b[31m\n\u202eb\ud800") == "a\\x1b[31m\\n\\u202eb\\ud800"


def test_joiners_are_kept_in_docs_and_spelled_out_in_messages() -> None:
    assert printable("a\u200db\u00a0c") == "a\u200db\u00a0c"
    assert fully_printable("a\u200db\u00a0c") == "a\\u200db\\xa0c"


def test_in_an_exceptions_text_they_become_spaces() -> None:
    assert blanked("a\x1b\nb") == "a  b"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("gbk", "-0.0404 [-0.0710, 1.0] ± 检查点 – ? é".encode("gb18030")),
        ("ascii", b"-0.0404 [-0.0710, 1.0] +- ??? - ? e"),
        ("utf-8", "−0.0404 [−0.0710, 1.0] ± 检查点 – 🦙 é".encode()),
    ],
)
def test_a_terminal_gets_the_nearest_characters_that_its_encoding_has(encoding: str, printed: bytes) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    encode_safely(stream)
    stream.write("−0.0404 [−0.0710, 1.0] ± 检查点 – 🦙 é")
    stream.flush()
    assert raw.getvalue() == printed


def test_a_table_is_printed_on_a_terminal_that_speaks_gbk(tmp_path: Path) -> None:
    results = write_results(tmp_path, rising("arc_easy", [100, 200, 300], low=0.05, high=0.9, n=20))
    shown = subprocess.run(
        [sys.executable, "-m", "milepost", "show", str(results)],
        env=os.environ | {"PYTHONIOENCODING": "gbk", "MILEPOST_LANG": "zh_CN"},
        capture_output=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "arc_easy" in shown.stdout.decode("gbk")
