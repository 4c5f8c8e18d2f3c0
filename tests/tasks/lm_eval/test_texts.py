"""Perplexity texts are joined as in the pruning papers; words and bytes are counted as in lm_eval."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import load_dataset

from milepost.errors import TaskError
from milepost.tasks.lm_eval.perplexity import counting
from milepost.tasks.lm_eval.perplexity.texts import TEXTS, check_text, form_of


def texts_of(text: str, form: str) -> list[str]:
    chosen = form_of(text, form)
    docs = load_dataset(chosen.path, chosen.name, split=chosen.split, **chosen.kwargs)
    return list(chosen.process(docs)["text"])


def test_wikitext_is_joined_by_blank_lines_or_strung_together_or_page_by_page(hub: str) -> None:
    lines = load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1", split="test")["text"]
    pages = texts_of("wikitext2", "documents")
    assert texts_of("wikitext2", "joined") == ["\n\n".join(lines)]
    assert texts_of("wikitext2", "plain") == ["".join(pages)]
    assert len(pages) == 62
    assert "".join(pages).split() == "\n\n".join(lines).split()


def test_words_and_bytes_are_counted_as_lm_eval_counts_them(hub: str) -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import process_results

    for page in texts_of("wikitext2", "documents")[:5]:
        assert counting.documents({"text": page}, [-7.0]) == process_results({"page": page}, [-7.0])


def test_c4_is_the_first_documents_of_the_first_validation_shard(hub: str) -> None:
    docs = texts_of("c4", "documents")
    assert 1 < len(docs) <= 1100
    assert texts_of("c4", "joined") == [" ".join(docs)]
    assert texts_of("c4", "plain") == ["".join(docs)]


def test_a_text_is_a_known_name_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("some words")
    assert check_text("wikitext2") is None
    assert check_text(str(file)) == file.resolve()
    with pytest.raises(TaskError, match="there is no text") as refused:
        check_text(str(tmp_path / "nothing.txt"))
    assert all(name in (refused.value.hint or "") for name in TEXTS)
    with pytest.raises(TaskError, match="there is no text"):
        check_text(str(tmp_path))


def test_the_published_arithmetic_equals_the_mean_over_all_predictions() -> None:
    pairs = [
        counting.fixed_windows({"n_targets": 63}, [loglikelihood])
        for loglikelihood in (-90.0, -210.0, -155.5)
    ]
    literal = counting.perplexity([pair["token_perplexity"] for pair in pairs])
    assert literal == pytest.approx(2.718281828459045 ** counting.nats_per_token([p["loss"] for p in pairs]))


def test_a_perplexity_that_overflows_is_none() -> None:
    assert counting.perplexity([(-9000.0, 1)]) == counting.NOT_A_NUMBER
