"""`milepost verify`: is every record of a results folder what was written?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from milepost.cli.selection import results_argument
from milepost.safe_text import printable
from milepost.store.verify import Finding, Verification, repair, verify


@click.command("verify")
@results_argument
@click.option("--repair", "mend", is_flag=True, help="Remove what is damaged; the next run makes it anew.")
@click.option("--json", "as_json", is_flag=True, help="An object with every finding.")
def command(results: Path, mend: bool, as_json: bool) -> int:
    """Check every record of RESULTS against its checksum, and say what to redo.

    Exit status 1 if a record is damaged or missing, also if --repair has removed it, as the run that makes it
    anew is still to come. What a killed process left unfinished does no harm; the next run removes it.
    """
    found = verify(results)
    if mend:
        repair(found)
    if as_json:
        click.echo(json.dumps(_as_object(found, mend), ensure_ascii=False, indent=1))
    else:
        _say(found, mend)
    return 0 if found.is_sound else 1


def _say(found: Verification, mended: bool) -> None:
    removed = " (removed)" if mended else ""
    for finding in found.findings:
        gone = "" if finding.kind == "missing" else removed
        click.echo(f"{finding.kind}: {_where(found, finding)}: {printable(finding.reason)}{gone}")
    wrong = sum(finding.kind != "left over" for finding in found.findings)
    click.echo(f"{found.n_checked} records read, {wrong} damaged or missing")
    if wrong == 0:
        return
    if not mended:
        click.echo(f"remove what is damaged:  milepost verify {found.results.path} --repair", err=True)
    for redo in dict.fromkeys(finding.redo for finding in found.findings if finding.kind != "left over"):
        click.echo(f"make it anew:  {printable(redo or 'the command that made these results')}", err=True)


def _as_object(found: Verification, mended: bool) -> dict[str, Any]:
    return {
        "results": str(found.results.path),
        "checked": found.n_checked,
        "sound": found.is_sound,
        "findings": [
            {
                "kind": finding.kind,
                "path": _where(found, finding),
                "reason": finding.reason,
                "redo": finding.redo,
                "removed": mended and finding.kind != "missing",
            }
            for finding in found.findings
        ],
    }


def _where(found: Verification, finding: Finding) -> str:
    return printable(str(finding.path.relative_to(found.results.path)))
