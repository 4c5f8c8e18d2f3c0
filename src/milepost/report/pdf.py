"""Print a page as PDF with the Chromium or Chrome of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from milepost.errors import MilepostError
from milepost.text.language import Phrase

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
MOST_S = 120
DRAWING_MS = 20_000
"""Time of the page's own clock in which its charts are drawn."""


def as_pdf(html: bytes) -> bytes:
    """Return an HTML page as PDF.

    Raises:
        MilepostError: there is no Chromium, or it makes no PDF of it.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise MilepostError(
            "a PDF needs Chromium or Chrome, and none is on the PATH",
            "install chromium, or write report.html and print it from a browser",
        )
    with tempfile.TemporaryDirectory(prefix="milepost-pdf-") as folder:
        page, made = Path(folder, "report.html"), Path(folder, "report.pdf")
        page.write_bytes(html)
        options = [
            "--headless",
            *(
                ["--no-sandbox"] if _is_root() else []
            ),  # Chromium has none for root; nothing foreign runs in it
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder}/profile",
            f"--virtual-time-budget={DRAWING_MS}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={made}",
            page.as_uri(),
        ]
        try:
            ended = subprocess.run([browser, *options], capture_output=True, timeout=MOST_S, check=False)
        except subprocess.TimeoutExpired:
            raise MilepostError(
                Phrase("{browser} made no PDF within {n} s", browser=browser, n=MOST_S),
                "write report.html instead",
            ) from None
        if not made.exists():
            lines = ended.stderr.decode(errors="replace").strip().splitlines() or [
                f"exit code {ended.returncode}"
            ]
            raise MilepostError(
                Phrase("{browser} made no PDF: {reason}", browser=browser, reason=lines[-1][:200]),
                "write report.html instead",
            )
        return made.read_bytes()


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
