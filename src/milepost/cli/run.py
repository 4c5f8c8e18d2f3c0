"""`milepost run`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milepost.cli.signals import stop_in_good_order
from milepost.errors import MilepostError

if TYPE_CHECKING:
    from milepost.library import Results
    from milepost.run.quick import FullJob


@click.command("run")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-t",
    "--tasks",
    multiple=True,
    metavar="TASK,...",
    help="lm_eval task, group or tag names; globs work.",
)
@click.option("--suite", metavar="NAME", help="A named list of tasks: early, smollm2, pruning or helm-lite.")
@click.option(
    "--quick",
    is_flag=True,
    help="A test: first, middle and last checkpoint, 100 docs per task; says how long the full job takes.",
)
@click.option(
    "-o",
    "--output-path",
    default="milepost-results",
    show_default=True,
    help="Results folder, new or of an earlier run.",
)
@click.option("-f", "--num-fewshot", type=int, help="Examples in the prompt; default: the task's own.")
@click.option("-L", "--limit", type=float, help="Docs per task: a count, or a share below 1.")
@click.option(
    "-E", "--samples", help="JSON: doc ids by task, for example '{\"arc_easy\": [0, 2]}', or a file with it."
)
@click.option(
    "--steps", metavar="BEGIN:END:STRIDE", help="Only these steps, END included; parts may be empty."
)
@click.option("--include-path", type=click.Path(), help="Folder with YAML tasks of your own.")
@click.option(
    "--metadata", help="JSON: parameters of tasks, for example '{\"seqlen\": 1024}' for ppl_fixed, or a file."
)
@click.option("--allow-task-code", is_flag=True, help="Let YAML of --include-path run Python (`!function`).")
@click.option(
    "--seed",
    default="0,1234,1234,1234",
    show_default=True,
    help="python,numpy,torch,fewshot; or one for all.",
)
@click.option(
    "--apply-chat-template",
    is_flag=False,
    flag_value="true",
    default=None,
    metavar="[NAME]",
    help="Ask through the tokenizer's chat template.",
)
@click.option(
    "--fewshot-as-multiturn",
    type=bool,
    is_flag=False,
    flag_value="true",
    default=None,
    help="Few-shot examples as a conversation; on with a chat template.",
)
@click.option("--system-instruction", help="Text put before every prompt.")
@click.option(
    "--gen-kwargs",
    metavar="KEY=VALUE,...",
    help="Change the tasks' generation_kwargs, as in lm_eval; JSON works.",
)
@click.option("--tokenizer", help="For checkpoints without one: a folder or Hub address.")
@click.option("--config", metavar="FILE", help="A config in place of any that lies beside the checkpoints.")
@click.option("--base", metavar="MODEL", help="What adapters change: a folder or Hub address.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16 or bfloat16.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="auto, packed, padded or reference: same scores. hf-continuous: texts by transformers' continuous"
    " batching. openai: a running server, see --base-url.",
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Of a server with OpenAI's completions endpoint (vLLM, SGLang), for --engine openai.",
)
@click.option("--served-model", metavar="NAME", help="Its model; needed where it serves several.")
@click.option(
    "-b",
    "--batch-size",
    default="auto",
    show_default=True,
    metavar="auto|TOKENS",
    help="Tokens per forward pass.",
)
@click.option("--shard-tokens", type=int, help="Tokens per unit of work and storage.")
@click.option("-s", "--log-samples", is_flag=True, help="Also write lm_eval's result and sample files.")
@click.option(
    "--repair/--no-repair",
    default=True,
    show_default=True,
    help="Fetch a damaged file of the Hub's cache again.",
)
@click.option(
    "--record",
    is_flag=False,
    flag_value="trackio",
    default="none",
    show_default=True,
    metavar="[trackio|wandb|none]",
    help="Also record each checkpoint's figures there, one run per series; without a name, in trackio.",
)
@click.option("--record-project", default="milepost", show_default=True, help="The recorder's project.")
@click.option(
    "--save-plan",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Only save the questions as token ids, to be asked where lm_eval is not installed.",
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Ask what --save-plan saved, in place of --tasks.",
)
@click.option(
    "--scores-only",
    is_flag=True,
    help="Store scores and no metrics, as where lm_eval is missing; `milepost metrics` computes them later.",
)
@click.option("--fresh-plan", is_flag=True, help="Build prompts and tokens anew, whatever is cached.")
@click.option("-v", "verbose", count=True, help="Say what is done and how long it takes; -vv for everything.")
@click.option("--verbosity", help="Log level by name; LMEVAL_LOG_LEVEL is respected too.")
@click.option("--yes", is_flag=True, help="Begin a long run without asking; only a terminal is asked.")
@click.option("--detach", "apart", is_flag=True, help="Go on without this terminal; a log says how it goes.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON instead of a table.")
def command(sources: tuple[str, ...], **options: Any) -> int:
    """Score every checkpoint of each SOURCE, then print the table.

    A SOURCE is a folder of checkpoints or a Hub address (hf://org/name@step-*, hf://org/name/iter_*); several
    make several curves. Whatever the results folder already has is not computed again.

    \b
    milepost run runs/my-500m -t mmlu,arc_easy -f 5 -o results
    milepost run 'hf://org/name@step-*' --steps 2000:200000:2000 -t hellaswag
    """
    as_json = options.pop("as_json")
    plan_folder = options.pop("save_plan")
    if plan_folder is not None:
        return _save_plan(sources, plan_folder, options)
    if options.pop("apart"):
        return go_on_detached(Path(options["output_path"]), as_json)
    with stop_in_good_order():
        return _run(sources, options, as_json)


def go_on_detached(output_path: Path, as_json: bool) -> int:
    """Start this command line again without its terminal, with a log in the results folder."""
    from milepost.store import ResultsFolder

    is_new = not output_path.exists()
    ResultsFolder.create(output_path)
    more = f"how far:      milepost status {output_path}"
    return detached(output_path, as_json, more, is_new=is_new)


def detached(folder: Path, as_json: bool, *more: str, is_new: bool) -> int:
    """Start this command line again without its terminal, with a log in `folder`; say how to follow it.

    If it does not get far, what it said and its exit status are ours, and a folder that `is_new` goes again.
    """
    from milepost.cli.detach import detach

    started = detach(folder)
    if started.status:
        click.echo(started.log.read_text("utf-8"), nl=False, err=True)
        started.log.unlink()
        if is_new and not any((folder / "store").rglob("*.*")):
            shutil.rmtree(folder)  # another process may have begun to use it meanwhile
        return started.status
    if as_json:
        click.echo(json.dumps({"pid": started.pid, "log": str(started.log)}))
        return 0
    click.echo(f"process {started.pid} goes on without this terminal")
    click.echo(f"follow it:    tail -f {started.log}")
    for line in more:
        click.echo(line)
    click.echo(f"end it:       kill {started.pid}   (the same command goes on from there)")
    return 0


def as_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The command's options as arguments of `library.evaluate`."""
    given = dict(options)
    level, verbose = given.pop("verbosity"), given.pop("verbose")
    template, metadata = given.pop("apply_chat_template"), given.pop("metadata")
    return {
        "samples": _samples(given.pop("samples")),
        "metadata": _json_object("--metadata", metadata, '{"seqlen": 1024}') if metadata else None,
        "apply_chat_template": True if template == "true" else template or False,
        "reuse_plan": not given.pop("fresh_plan"),
        "ask": may_ask(given.pop("yes")),
        "verbosity": level or ("WARNING", "INFO", "DEBUG")[min(verbose, 2)],
        **given,
    }


def may_ask(yes: bool) -> bool:
    """Whether somebody is there to be asked before a long run, and wants to be."""
    return not yes and sys.stdin.isatty() and sys.stderr.isatty()


def _run(sources: tuple[str, ...], options: dict[str, Any], as_json: bool) -> int:
    from milepost.library import evaluate

    results = evaluate(sources, **as_arguments(options))
    print_results(results, as_json)
    if results.full_job is not None:
        _say_full_job(results.full_job)
    return 1 if results.failures else 0


_OF_SCORING = ("output_path", "log_samples", "record", "record_project", "apart")


def _save_plan(sources: tuple[str, ...], folder: Path, options: dict[str, Any]) -> int:
    from milepost.library import save_plan

    given = {name: value for name, value in options.items() if name not in _OF_SCORING}
    arguments = as_arguments(given)
    save_plan(sources, arguments.pop("tasks"), folder, **arguments)
    click.echo(
        f"plan saved in {folder}; ask it with:  milepost run SOURCE --plan {folder} -o RESULTS", err=True
    )
    return 0


def print_results(results: Results, as_json: bool) -> None:
    """The figures on standard output; what failed, and how much was done, on standard error."""
    records = results.to_records()
    if as_json:
        click.echo(json.dumps(records, ensure_ascii=False, indent=1))
    elif records:
        from rich.console import Console

        Console(highlight=False).print(results.table(), crop=False)
    for name, reason in results.failures.items():
        click.echo(f"failed: {_plain(name)}: {_plain(reason)}", err=True)
    counts = {"scored": results.scored, "already scored": results.reused, "failed": results.failures}
    said = ", ".join(f"{len(names)} {what}" for what, names in counts.items() if names)
    click.echo(f"{said}; results in {results.path}", err=True)
    if results.without_metrics:
        click.echo(
            f"{len(results.without_metrics)} have scores and no metrics yet; compute them where lm_eval is"
            f" installed:  milepost metrics {_plain(str(results.path))}",
            err=True,
        )


def _say_full_job(job: FullJob) -> None:
    from milepost.run.progress import spell

    click.echo(
        f"the full job, {job.n_checkpoints} checkpoints x {job.n_docs:,} docs: about {spell(job.seconds)}"
        f" (measured here: {job.tokens_per_s:,.0f} tokens/s)\n  {_plain(job.command)}",
        err=True,
    )


def _plain(text: str) -> str:
    """Names come from folders and the Hub: nothing in them may reach the terminal as a control character."""
    return "".join(char if char.isprintable() else " " for char in text)


def _samples(given: str | None) -> dict[str, list[int]] | None:
    """`--samples` as JSON text or a file that holds it."""
    if given is None:
        return None
    example = '{"arc_easy": [0, 1, 2]}'
    parsed = _json_object("--samples", given, example)
    if not all(isinstance(ids, list) and all(type(i) is int for i in ids) for ids in parsed.values()):
        raise MilepostError("--samples must map task names to lists of doc ids", example)
    return parsed


def _json_object(option: str, given: str, example: str) -> dict[str, Any]:
    """An option's value that is JSON, or the name of a file with JSON."""
    text = given
    if not given.lstrip().startswith("{"):
        try:
            text = Path(given).read_text("utf-8")
        except OSError as error:
            raise MilepostError(
                f"{option} {given}: {error.strerror}", "pass JSON or a file with JSON"
            ) from error
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise MilepostError(f"{option} is not valid JSON: {error}", example) from error
    if not isinstance(parsed, dict):
        raise MilepostError(f"{option} is no JSON object", example)
    return parsed
