"""`milepost verify`: check every record of a results folder against its checksum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from milepost.cli.output import say, say_json, tell_command
from milepost.cli.selection import results_argument
from milepost.store.verify import Finding, Verification, repair, verify
from milepost.text.language import _, translated
from milepost.text.safe_text import printable


@click.command("verify")
@results_argument
@click.option("--repair", "with_repair", is_flag=True, help="Remove damaged records, for a run to redo.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding as a JSON object.")
def command(results: Path, with_repair: bool, as_json: bool) -> int:
    """Check every record of RESULTS against its checksum, and say what to compute again.

    Exit status 1 if a record is damaged or missing, also after --repair, since a run has to compute it again.
    Unfinished files of a killed process do no harm; the next run removes them.
    """
    found = verify(results)
    if with_repair:
        repair(found)
    if as_json:
        say_json(_record(found, with_repair))
    else:
        _say_findings(found, with_repair)
    return 0 if found.is_sound else 1


def _say_findings(found: Verification, repaired: bool) -> None:
    for finding in found.findings:
        removed = _(" (removed)") if repaired and finding.kind != "missing" else ""
        kind, reason = translated(finding.kind), translated(finding.reason)
        say(f"{kind}: {_where(found, finding)}: {reason}{removed}")
    wrong = [finding for finding in found.findings if finding.kind != "left over"]
    say(
        _(
            "{n_checked} records read, {n_wrong} damaged or missing",
            n_checked=found.n_checked,
            n_wrong=len(wrong),
        )
    )
    if wrong and not repaired:
        tell_command(_("remove what is damaged:  milepost verify {path} --repair", path=found.results.path))
    for command in dict.fromkeys(finding.redo for finding in wrong):
        tell_command(
            _("compute it again:  {command}", command=command or _("the command that made these results"))
        )


def _record(found: Verification, repaired: bool) -> dict[str, Any]:
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
                "removed": repaired and finding.kind != "missing",
            }
            for finding in found.findings
        ],
    }


def _where(found: Verification, finding: Finding) -> str:
    return printable(str(finding.path.relative_to(found.results.path)))
