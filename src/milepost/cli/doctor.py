"""`milepost doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from milepost.cli.options import Place
from milepost.cli.output import say, say_json, say_marked
from milepost.text.language import Phrase, _, translated
from milepost.text.wrapping import padded

if TYPE_CHECKING:
    from milepost.doctor import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "broken": "red"}
_MARKS = {"ok": Phrase("ok"), "warning": Phrase("warning"), "broken": Phrase("broken")}
_WIDTH = len("warning") + 1


@click.command("doctor")
@click.argument("results", required=False, type=Place())
@click.option("--deep", is_flag=True, help="Hash every file of the Hub cache (about 1 s per GB).")
@click.option("--json", "as_json", is_flag=True, help="An array of objects, one per finding.")
def command(results: Path | None, deep: bool, as_json: bool) -> int:
    """Look for what would keep a run from working, and say what to do about it.

    Python, torch, device, what compiled attention needs on a GPU (Triton, a C compiler, Python.h, a small
    kernel that is tried), lm_eval, the mirror (HF_ENDPOINT) and its speed, the clock, broken files in the Hub
    cache, disk space for RESULTS and the caches. Changes nothing. Exit status 1 when something is broken.

    \b
    milepost doctor
    milepost doctor results --deep
    """
    from milepost.doctor import examine

    findings = []
    for finding in examine(results, deep=deep):
        findings.append(finding)
        if not as_json:
            _say_finding(finding)
    if as_json:
        say_json([asdict(finding) for finding in findings])
    return 1 if any(finding.status == "broken" for finding in findings) else 0


def _say_finding(finding: Finding) -> None:
    """Print a finding as soon as it is known, and below it what to do."""
    mark = padded(translated(_MARKS[finding.status]), _WIDTH)
    text = _("{check}: {found}", check=translated(finding.check), found=translated(finding.found))
    say_marked(mark, _COLOURS[finding.status], text)
    if finding.advice:
        say(f"{'':{_WIDTH}}{translated(finding.advice)}")
