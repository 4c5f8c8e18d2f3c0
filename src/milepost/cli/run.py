"""`milepost run`: score every checkpoint, then print the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milepost.buckets import as_path
from milepost.cli.evaluation_options import evaluation_options, log_level, may_ask
from milepost.cli.interrupts import stop_in_good_order
from milepost.cli.output import say, say_blocks, say_json, tell, tell_command, tell_failure
from milepost.cli.selection import tell_versions
from milepost.errors import MilepostError
from milepost.run.display.signs_of_life import importing
from milepost.text.durations import format_duration
from milepost.text.language import _

if TYPE_CHECKING:
    from milepost.api.results import Results
    from milepost.run.outcome import FullJob


@click.command("run")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@evaluation_options("run")
@click.option(
    "--save-plan",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Only save the requests as token ids, to score them where lm_eval is not installed.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the script that --executor slurm would submit; Slurm is not needed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON instead of a table.")
def command(sources: tuple[str, ...], **options: Any) -> int:
    """Score every checkpoint of each SOURCE, then print the table.

    A SOURCE is a folder of checkpoints, a Hub address (hf://org/name@step-*, hf://org/name/iter_*) or a
    folder in a bucket (s3://bucket/run, gs://bucket/run); several make several curves. What the results
    folder already has is not computed again.

    \b
    milepost run runs/my-500m -t mmlu,arc_easy -f 5 -o results
    milepost run 'hf://org/name@step-*' --steps 2000:200000:2000 -t hellaswag
    """
    as_json = options.pop("as_json")
    plan_folder = options.pop("save_plan")
    dry_run = options.pop("dry_run")
    if plan_folder is not None:
        return _save_plan(sources, plan_folder, options)
    if dry_run:
        return _print_script(sources, options)
    if options.pop("apart"):
        return go_on_detached(as_path(options["output_path"]), as_json)
    with stop_in_good_order():
        return _run(sources, options, as_json)


def go_on_detached(output_path: Path, as_json: bool) -> int:
    """Start this command line again without its terminal, with a log in the results folder."""
    from milepost.store import ResultsFolder, file_state

    is_new = not file_state.folder_exists(output_path)
    ResultsFolder.create(output_path)
    more = _("how far:      milepost status {path}", path=output_path)
    return detached(output_path, as_json, more, is_new=is_new)


def detached(folder: Path, as_json: bool, *more: str, is_new: bool) -> int:
    """Start this command line again without its terminal, with a log in `folder`; say how to follow it.

    If it fails within seconds, print its output, return its exit status and remove the folder if it `is_new`.
    """
    from milepost.cli.detach import detach
    from milepost.store import ResultsFolder, listing
    from milepost.store import safe_paths as inside

    started = detach(folder)
    if started.status:
        click.echo(inside.read_bytes(started.log).decode("utf-8", "replace"), nl=False, err=True)
        inside.remove(started.log)
        if is_new and not listing.files_below(ResultsFolder(folder).store):
            inside.remove_folder(folder)  # another process may have begun to use it meanwhile
        return started.status
    if as_json:
        say_json({"pid": started.pid, "log": str(started.log)})
        return 0
    say(_("process {pid} goes on without this terminal", pid=started.pid))
    say(_("follow it:    tail -f {log}", log=started.log))
    for line in more:
        say(line)
    say(_("end it:       kill {pid}   (the same command goes on from there)", pid=started.pid))
    return 0


def as_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the command's options as arguments of a function of `milepost`."""
    given = dict(options)
    return {
        "verbosity": log_level(given.pop("verbosity"), given.pop("verbose")),
        "ask": may_ask(given.pop("yes")),
        **{name: value for name, value in given.items() if value is not None},
    }


def _run(sources: tuple[str, ...], options: dict[str, Any], as_json: bool) -> int:
    with importing():
        from milepost.api.evaluate import evaluate_config
        from milepost.run.config import EvalConfig
        from milepost.run.display.timing import LongRunPolicy

    arguments = as_arguments(options)
    long_run = LongRunPolicy(ask=arguments.pop("ask"))
    results = evaluate_config(EvalConfig.from_options(sources, **arguments), long_run)
    print_results(results, as_json)
    if results.full_job is not None:
        _tell_full_job(results.full_job)
    return 1 if results.failures else 0


def _print_script(sources: tuple[str, ...], options: dict[str, Any]) -> int:
    from milepost.api.evaluate import batch_script
    from milepost.run.config import EvalConfig

    if options["executor"] != "slurm":
        raise MilepostError("--dry-run prints the script of --executor slurm", "add --executor slurm")
    arguments = as_arguments({name: value for name, value in options.items() if name != "apart"})
    arguments.pop("ask")
    for line in batch_script(EvalConfig.from_options(sources, **arguments)).splitlines():
        say(line)
    return 0


_OF_SCORING = ("output_path", "log_samples", "record", "record_project", "apart")


def _save_plan(sources: tuple[str, ...], folder: Path, options: dict[str, Any]) -> int:
    from milepost.api.evaluate import save_plan

    given = {name: value for name, value in options.items() if name not in _OF_SCORING}
    arguments = as_arguments(given)
    arguments.pop("ask")
    save_plan(sources, arguments.pop("tasks"), folder, **arguments)
    tell(
        _(
            "plan saved in {folder}; score it with:  milepost run SOURCE --plan {folder} -o RESULTS",
            folder=folder,
        )
    )
    return 0


def print_results(results: Results, as_json: bool) -> None:
    """Print the metrics on standard output; failures and how much was done on standard error."""
    if as_json:
        say_json(results.to_records())
    elif rows := results.rows():
        say_blocks(results.table().blocks)
        tell_versions(results.index(), rows)
    for name, reason in results.failures.items():
        tell_failure(name, reason)
    counts = {
        _("{n} scored", n=len(results.scored)): results.scored,
        _("{n} already scored", n=len(results.reused)): results.reused,
        _("{n} failed", n=len(results.failures)): results.failures,
    }
    done = ", ".join(what for what, names in counts.items() if names)
    tell(_("{done}; results in {path}", done=done, path=results.path))
    if results.without_metrics:
        tell(
            _(
                "{n} have scores and no metrics yet; compute them where lm_eval is"
                " installed:  milepost metrics {path}",
                n=len(results.without_metrics),
                path=results.path,
            )
        )


def _tell_full_job(job: FullJob) -> None:
    tell(
        _(
            "the full job, {n_checkpoints} checkpoints x {n_docs:,} docs: about"
            " {duration} (measured here: {tokens_per_s:,.0f} tokens/s)",
            n_checkpoints=job.n_checkpoints,
            n_docs=job.n_docs,
            duration=format_duration(job.seconds),
            tokens_per_s=job.tokens_per_s,
        )
    )
    tell_command(f"  {job.command}")
