"""Pages need no library whose import takes longer than a page may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from milepost.web.app import Dashboard
from milepost.web.pages import PAGES
from milepost.web.query import Query
dashboard = Dashboard([Path(sys.argv[1])], None)
for kind in PAGES:
    if kind.name not in ("question", *sys.argv[3:]):
        assert dashboard.made(kind, "html", Query(), "en").content
print(*[name for name in sys.argv[2].split() if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("libraries", "without"),
    [("torch altair pandas lm_eval", ("compare",)), ("torch altair pandas pyarrow.compute", ())],
)
def test_no_page_imports(libraries: str, without: tuple[str, ...], real_results: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(real_results), libraries, *without]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
