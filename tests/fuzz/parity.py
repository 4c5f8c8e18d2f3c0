"""Random tasks on a random model: log-likelihoods, texts and metrics equal those of `lm_eval --model hf`."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import milepost
from milepost.errors import MilepostError
from tests.fuzz.models import ARCHITECTURES, TOKENIZERS, save_model
from tests.fuzz.task_files import write_example

NATS = 1e-4
ENGINES = ("packed", "packed", "padded", "reference", "auto")
STRICTER = (
    "does not name the right choice of any doc",
    "texts of up to",
)
"""Messages of refusals where lm_eval gives a value without meaning."""


class Mismatch(AssertionError):
    """Milepost and lm_eval differ."""


@dataclass(frozen=True)
class Setting:
    architecture: str
    tokenizer: str
    model_seed: int
    engine: Any
    batch_tokens: int | str
    shard_tokens: int
    limit: int | None
    num_fewshot: int | None
    system_instruction: str | None


def random_setting(random: Random) -> Setting:
    return Setting(
        architecture=random.choice(ARCHITECTURES),
        tokenizer=random.choice(TOKENIZERS),
        model_seed=random.randrange(3),
        engine=random.choice(ENGINES),
        batch_tokens=random.choice((16, 60, 200, 1000, "auto")),
        shard_tokens=random.choice((20, 200, 100_000)),
        limit=random.choice((None, None, 1, 3)),
        num_fewshot=random.choice((None, None, None, 0, 1)),
        system_instruction=random.choice((None, None, None, "Be brief.")),
    )


def parity_example(seed: int, work: Path) -> str:
    """Compare one example, in `work`; returns a line that describes it.

    Raises:
        Mismatch: an answer or metric differs.
    """
    random = Random(seed)
    setting = random_setting(random)
    names = write_example(random, work / "tasks")
    (work / "setting.json").write_text(json.dumps(asdict(setting) | {"names": names}, indent=1))
    model = _model(work.parent / "models", setting)
    theirs = _by_lm_eval(model, names, work / "tasks", setting)
    ours = _by_milepost(model, names, work, setting)
    if isinstance(theirs, Exception) or isinstance(ours, MilepostError):
        _check_refusals(theirs, ours)
        return f"{setting.architecture}, {setting.engine}: refused"
    n = _compare(theirs, ours)
    return f"{setting.architecture}, {setting.tokenizer}, {setting.engine}: {n} requests"


def _model(folder: Path, setting: Setting) -> Path:
    place = folder / f"{setting.architecture}-{setting.tokenizer}-{setting.model_seed}"
    if not (place / "config.json").exists():
        save_model(place, setting.architecture, setting.tokenizer, setting.model_seed)
    return place


def _by_lm_eval(model: Path, names: list[str], tasks: Path, setting: Setting) -> Any:
    """Return lm_eval's results from its own reading of the files, or its exception."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # logits_cache is off: with it lm_eval scores requests that share all but a token at wrong positions.
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    harness = HFLM(
        pretrained=loaded, tokenizer=AutoTokenizer.from_pretrained(model), batch_size=1, device="cpu",
        logits_cache=False,
    )  # fmt: skip
    try:
        return simple_evaluate(
            model=harness,
            tasks=names,
            task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
            limit=setting.limit,
            num_fewshot=setting.num_fewshot,
            system_instruction=setting.system_instruction,
            bootstrap_iters=0,
        )
    except Exception as error:  # any fault of a random task
        return error


def _by_milepost(model: Path, names: list[str], work: Path, setting: Setting) -> Any:
    try:
        return milepost.evaluate(
            model,
            names,
            output_path=work / "results",
            include_path=work / "tasks",
            engine=setting.engine,
            batch_size=setting.batch_tokens,
            shard_tokens=setting.shard_tokens,
            limit=setting.limit,
            num_fewshot=setting.num_fewshot,
            system_instruction=setting.system_instruction,
            dtype="float32",
            device="cpu",
            log_samples=True,
        )
    except MilepostError as error:
        return error


def _check_refusals(theirs: Any, ours: Any) -> None:
    if isinstance(ours, MilepostError):
        if not ours.message.isprintable():
            raise Mismatch(f"a message that is not one line: {ours.message!r}")
        if not isinstance(theirs, Exception) and not any(known in ours.message for known in STRICTER):
            raise Mismatch(f"lm_eval has metrics, and Milepost says: {ours.message}")


def _compare(theirs: dict[str, Any], ours: milepost.Results) -> int:
    compared, near_tie = 0, False
    for task, samples in theirs["samples"].items():
        mine = _samples(ours.path, task)
        _equal(len(mine), len(samples), f"{task}: docs")
        for own, lm_evals in zip(mine, samples, strict=True):
            where = f"{task}, doc {lm_evals['doc_id']}"
            for key in ("doc_hash", "prompt_hash", "target_hash", "doc_id"):
                _equal(own[key], lm_evals[key], f"{where}: {key}")
            values = []
            for answer, (expected,) in zip(own["resps"], lm_evals["resps"], strict=True):
                values.append(_check_answer(answer[0], expected, where))
                compared += 1
            near_tie |= _has_near_tie([value for value in values if value is not None])
    if not near_tie:
        _compare_metrics(theirs, ours)
    return compared


def _check_answer(answer: Any, expected: Any, where: str) -> float | None:
    """Compare an answer; returns it if it is a log-likelihood."""
    if isinstance(expected, str):
        _equal(answer, expected, f"{where}: text")
        return None
    if isinstance(expected, int | float):
        _close(float(answer), float(expected), where)
        return None
    _close(float(answer[0]), float(expected[0]), where)
    _equal(str(answer[1]), str(expected[1]), f"{where}: greedy")
    return float(expected[0])


def _compare_metrics(theirs: dict[str, Any], ours: milepost.Results) -> None:
    known = {(row.task, f"{row.metric},{row.filter}"): row.value for row in ours.rows()}
    for task, metrics in theirs["results"].items():
        for key, value in metrics.items():
            if "," not in key or "_stderr" in key or not isinstance(value, int | float):
                continue
            own = known.get((task, key))
            if own is None and not math.isfinite(value):
                continue
            if own is None or not math.isclose(own, value, rel_tol=1e-4, abs_tol=1e-6):
                raise Mismatch(f"{task}: {key} is {own}, lm_eval has {value}")


def _has_near_tie(values: list[float]) -> bool:
    """Return whether a pick may depend on rounding; lm_eval may round equal texts differently."""
    ordered = sorted(values)
    return any(high - low < 2 * NATS for low, high in itertools.pairwise(ordered))


def _samples(results: Path, task: str) -> list[dict[str, Any]]:
    (path,) = results.glob(f"*/*/samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _close(own: float, expected: float, where: str) -> None:
    if not math.isclose(own, expected, rel_tol=1e-5, abs_tol=NATS):
        raise Mismatch(f"{where}: {own} nats, lm_eval has {expected}")


def _equal(own: Any, expected: Any, where: str) -> None:
    if own != expected:
        raise Mismatch(f"{where}: {own!r}, lm_eval has {expected!r}")
