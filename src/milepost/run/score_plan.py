"""Score a saved plan: `python -m milepost.run.score_plan PLAN WEIGHTS OUT`.

The module needs torch, transformers, safetensors, numpy and pyarrow, but not lm_eval or the libraries of the
command line. PLAN is what `milepost run ... --save-plan PLAN` wrote, WEIGHTS a checkpoint or a folder of
checkpoints, OUT a results folder. `milepost metrics OUT` computes the metrics where lm_eval is installed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from milepost.errors import MilepostError
from milepost.run.config import DTYPES, ENGINES, EvalConfig
from milepost.run.display.journal import Journal
from milepost.run.evaluation import evaluate_run
from milepost.run.keyword_options import EngineChoice
from milepost.run.outcome import Outcome
from milepost.run.plans.plan_folder import read_saved_plan
from milepost.text.language import _


def score_plan(
    plan: Path,
    weights: Sequence[str | Path],
    out: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    engine: EngineChoice = "auto",
    batch_tokens: int | None = None,
    tokenizer: str | None = None,
    verbosity: int = logging.WARNING,
) -> Outcome:
    """Score every checkpoint of `weights` on a saved plan; what `out` has is not scored again.

    Args:
        plan: a folder that `--save-plan` wrote.
        weights: checkpoints, or folders of them.
        out: the results folder, new or of an earlier run.
        device, dtype, engine, batch_tokens, tokenizer: see `EvalConfig`.
        verbosity: a logging level.

    Raises:
        MilepostError: an error that the caller can correct; nothing has been written then.
    """
    config = EvalConfig(
        sources=tuple(str(source) for source in weights),
        tasks=read_saved_plan(plan).settings,
        plan=plan,
        output_path=out,
        device=device,
        dtype=dtype,
        engine=engine,
        batch_tokens=batch_tokens,
        tokenizer=tokenizer,
        scores_only=True,
    )
    with Journal(verbosity) as journal:
        return evaluate_run(config, journal)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, 1 if a checkpoint failed, 2 for an error of the caller, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m milepost.run.score_plan", description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=DTYPES)
    parser.add_argument(
        "--engine", default="auto", choices=[engine for engine in ENGINES if engine != "openai"]
    )
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--tokenizer")
    parser.add_argument("-v", "--verbose", action="store_true")
    given = vars(parser.parse_args(arguments))
    level = logging.INFO if given.pop("verbose") else logging.WARNING
    try:
        outcome = score_plan(**given, verbosity=level)
    except MilepostError as error:
        message, hint = error.for_reader()
        print(_("error: {message}", message=message), file=sys.stderr)
        if hint:
            print(_("hint: {hint}", hint=hint), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    for failure in outcome.failed:
        name, reason = failure.checkpoint.name, failure.reason
        print(_("failed: {name}: {reason}", name=name, reason=reason), file=sys.stderr)
    print(
        _(
            "{scored} scored, {reused} already scored, {failed} failed; scores in {path}",
            scored=len(outcome.scored),
            reused=len(outcome.reused),
            failed=len(outcome.failed),
            path=outcome.results.path,
        )
    )
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
