"""The `ppl_*` tasks: their numbers from first principles in float64, their documents by lm_eval itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import milepost
from milepost.api.perplexity import measure_perplexity
from milepost.errors import TaskError
from milepost.tasks.lm_eval.perplexity import texts
from tests.cli.called import milepost as call
from tests.lm_eval_runs import simple_evaluate

SEQLEN, STRIDE = 64, 24
PARAMETERS = {"seqlen": SEQLEN, "stride": STRIDE}
TASKS = "ppl_fixed,ppl_strided,ppl_fixed_tail,ppl_rolling,ppl_rolling_context,ppl_rolling_bos,ppl_documents"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 560 tokens of tiny Llama's, with line ends and characters that careless reading would change."""
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    sentence = "the cat sat on the mat and the dog ran after it.\r\n naïve  — 猫 \n"
    path.write_bytes("".join(f"{number} {sentence}" for number in range(12)).encode())
    return path


@pytest.fixture(scope="module")
def figures(
    tiny_llama: Path, text: Path, stride: int, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, float]:
    results = milepost.evaluate(
        tiny_llama,
        TASKS,
        output_path=tmp_path_factory.mktemp("results") / "out",
        metadata={"seqlen": SEQLEN, "stride": stride, "text": str(text)},
        dtype="float32",
    )
    return {f"{row.task} {row.metric}": row.value or math.nan for row in results.rows()}


@pytest.fixture(scope="module", params=[STRIDE, SEQLEN])
def stride(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def direct(tiny_llama: Path, text: Path, stride: int) -> dict[str, float]:
    """The recipes as they are published, in float64; the tokenizer's BOS is part of the text, as there."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float64).eval()
    ids = AutoTokenizer.from_pretrained(tiny_llama)(text.read_bytes().decode(), return_tensors="pt").input_ids
    n = ids.shape[1]
    with torch.no_grad():
        losses = [
            model(window, labels=window).loss * SEQLEN
            for window in ids[:, : n // SEQLEN * SEQLEN].split(SEQLEN, 1)
        ]
        fixed = torch.exp(torch.stack(losses).sum() / (len(losses) * SEQLEN)).item()
        total = weighed = 0.0
        predicted = weights = end = 0
        for start in range(0, n, stride):
            before, end = end, min(start + SEQLEN, n)
            labels = ids[:, start:end].clone()
            labels[:, : before - end] = -100
            loss = model(ids[:, start:end], labels=labels).loss.item()
            n_labels = int((labels != -100).sum())
            weighed, weights = weighed + loss * (n_labels - 1), weights + n_labels - 1
            n_targets = int((labels[:, 1:] != -100).sum())
            total, predicted = total + loss * n_targets, predicted + n_targets
            if end == n:
                break
    assert n % SEQLEN > 1
    return {"fixed": fixed, "guide": math.exp(weighed / weights), "strided": math.exp(total / predicted)}


def test_fixed_windows_give_the_number_of_the_published_loop(
    figures: dict[str, float], direct: dict[str, float]
) -> None:
    assert figures["ppl_fixed token_perplexity"] == pytest.approx(direct["fixed"], rel=1e-6)
    assert math.exp(figures["ppl_fixed loss"]) == pytest.approx(direct["fixed"], rel=1e-6)


def test_strided_windows_give_the_number_of_the_guide_and_the_exact_one(
    figures: dict[str, float], direct: dict[str, float], stride: int
) -> None:
    assert figures["ppl_strided token_perplexity"] == pytest.approx(direct["strided"], rel=1e-6)
    assert figures["ppl_strided guide_perplexity"] == pytest.approx(direct["guide"], rel=1e-6)
    assert (direct["guide"] == pytest.approx(direct["strided"], rel=1e-6)) == (stride == SEQLEN)


def test_a_file_is_scored_as_lm_eval_scores_a_document(
    figures: dict[str, float], tiny_llama: Path, text: Path
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    content = text.read_bytes().decode()
    model = HFLM(pretrained=str(tiny_llama), dtype="float32", batch_size=1, device="cpu")
    asked = Instance("loglikelihood_rolling", {}, (content,), 0)
    (loglikelihood,) = model.loglikelihood_rolling([asked], disable_tqdm=True)
    n_bytes = len(text.read_bytes())
    assert figures["ppl_documents bits_per_byte"] == pytest.approx(
        -loglikelihood / n_bytes / math.log(2), rel=1e-6
    )
    n_tokens = len(model.tok_encode(content))
    assert figures["ppl_rolling_bos loss"] == pytest.approx(-loglikelihood / n_tokens, rel=1e-6)


def test_c4_is_explained_to_the_figure_of_lm_evals_own_task(
    hub: str, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.models.huggingface import HFLM

    from milepost.tasks.lm_eval.catalog import load_catalog
    from milepost.tasks.lm_eval.loading import task_manager

    monkeypatch.setattr(texts, "C4_DOCS", 2)  # lm_eval's task is of the same text then, by --limit
    (ours,) = measure_perplexity(
        tiny_llama, output_path=tmp_path / "out", text="c4", seqlen=128, stride=128, dtype="float32"
    ).found
    theirs = simple_evaluate(
        model=HFLM(pretrained=str(tiny_llama), dtype="float32", batch_size=8, device="cpu"),
        tasks=["c4"],
        task_manager=task_manager(load_catalog()),
        bootstrap_iters=0,
        limit=2,
    )["results"]["c4"]
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert ours.value(name) == pytest.approx(theirs[f"{name},none"], rel=1e-5)
    gap = next(gap for gap in ours.gaps if gap.end == "word_perplexity")
    assert [factor.task for factor in gap.factors[-3:]] == [
        "ppl_rolling_plain",
        "ppl_documents",
        "ppl_detokenised",
    ]
    assert math.exp(gap.ln_product) == pytest.approx(
        theirs["word_perplexity,none"] / ours.value("fixed"), rel=1e-5
    )
    assert gap.ln_product == pytest.approx(gap.ln_ratio, rel=1e-9)
    assert all(factor.ln_factor != 0 for factor in gap.factors[:-1])


def test_they_are_tasks_like_all_others(tiny_llama: Path, text: Path, tmp_path: Path) -> None:
    """Run, shown, limited and exported as lm_eval's files."""
    out, metadata = str(tmp_path / "out"), json.dumps({**PARAMETERS, "text": str(text)})
    options = ["-t", "ppl_fixed,ppl_strided", "--metadata", metadata, "-L", "3", "--log-samples", "--json"]
    rows = json.loads(call("run", str(tiny_llama), *options, "-o", out).out)
    assert {(row["task"], row["n"]) for row in rows} == {("ppl_fixed", 3), ("ppl_strided", 3)}
    assert all(row["ci_low"] < row["value"] < row["ci_high"] for row in rows)
    (samples,) = Path(out).glob("*/*/samples_ppl_fixed_*.jsonl")
    first = json.loads(samples.read_text("utf-8").splitlines()[0])
    assert first["doc"]["n_tokens"] == SEQLEN - 1
    assert "ppl_fixed" in call("show", out).out
    again = call("run", str(tiny_llama), *options, "-o", out)
    assert "1 already scored" in again.err


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"seqlen": 257}, "windows of 257 tokens, but the model's context is 256"),
        ({"seqlen": 1}, "seqlen is 1"),
        ({"seqlen": "long"}, "seqlen is 'long'"),
        ({"seqlen": 64, "stride": 65}, "a stride of 65 tokens"),
        ({"text": "wikitext9"}, "there is no text 'wikitext9'"),
    ],
)
def test_parameters_that_cannot_be_are_refused_before_anything_is_written(
    tiny_llama: Path, text: Path, tmp_path: Path, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(TaskError, match=message) as refused:
        milepost.evaluate(
            tiny_llama,
            "ppl_strided",
            output_path=tmp_path / "out",
            metadata={"text": str(text), **parameters},
        )
    assert refused.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"too short", "fewer than one window"), (b" \n", "has no text"), (b"\xff\xfe\x00", "not UTF-8 text")],
)
def test_files_that_are_no_text_to_score_are_refused(
    tiny_llama: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=message):
        milepost.evaluate(tiny_llama, "ppl_fixed", output_path=tmp_path / "out", metadata={"text": str(path)})
