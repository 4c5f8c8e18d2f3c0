"""Pages in Chinese: no English is left on them but names, and what a model, a task or a command says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from milepost.web.pages import PAGES
from tests.run.own_tasks import ANIMALS, PLACES

CHINESE = {"accept": "text/html", "accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}
WORD = re.compile(r"[A-Za-z]{3,}")
NAMES = frozenset(
    WORD.findall(
        """
    milepost english png svg csv json javascript esc utc holm mcnemar student spearman helm snr yaml data
    eval torch transformers tokenizers datasets python numpy fewshot version safetensors model numerics plan
    acc norm bytes tokens token balanced prob right bpb margin entropy ece pick bias exact match word byte
    bits per perplexity loss shot min max cpu float auto nats nat padded
    farm where who prose tell next tiny run checkpoint series results
    """
    )
)
"""Of programs, people, files, tasks, metrics and engines; `word_perplexity` is three of them."""
OTHERS = ("the", "sat", "after", "ran", "and", "dog")
"""Words of the questions."""


class _Texts(HTMLParser):
    """The texts that people read or hear, without those that somebody else wrote."""

    THEIRS = ("script", "style", "blockquote", "footer", "option", "pre")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [text for name, text in attrs if name in ("aria-label", "placeholder") and text]
        if tag in self.THEIRS:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.THEIRS:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.texts.append(data)


def english_of(html: str, also: Iterable[str] = ()) -> set[str]:
    """The words of a page that are no names."""
    known = {*NAMES, *(word.lower() for word in (*OTHERS, *ANIMALS, *PLACES, *also))}
    found = {word for text in _Texts(html).texts for word in WORD.findall(_without_data(text))}
    return {word for word in found if word.lower() not in known}


def _without_data(text: str) -> str:
    """The text without commands, addresses, hashes and letters of picks."""
    text = re.sub(r"milepost run .*|`[^`]*`|\S*/\S+|\b[0-9a-f]{16,}\b|\b[A-Da-d]+\b|\S+\.ya?ml", " ", text)
    return re.sub(r"\b\d+\.\d\S*", " ", text)


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_a_page_in_chinese_has_no_english(real: TestClient, page: str) -> None:
    html = real.get(f"/{page}", headers=CHINESE).text
    assert '<html lang="zh-CN">' in html
    assert english_of(html) == set()
    assert real.get(f"/{page}?lang=zh", headers={"accept": "text/html"}).text.count("zh") >= html.count("zh")


@pytest.mark.parametrize(
    "address", ["questions", "question?task=tell", "question?task=next", "runs", "compare", "nope"]
)
def test_texts_and_errors_in_chinese_have_no_english(texts: TestClient, address: str) -> None:
    html = texts.get(f"/{address}", headers=CHINESE).text
    written = texts.get("/questions.json?task=tell").text + texts.get("/question.json?task=tell").text
    assert english_of(html, WORD.findall(written)) == set()


def test_the_address_decides_before_the_browser(real: TestClient) -> None:
    html = real.get("/overview?lang=en", headers=CHINESE).text
    assert '<html lang="en">' in html
    assert "Overview" in html


def test_a_checkpoint_in_chinese_has_no_english_but_its_log(real: TestClient, real_results: Path) -> None:
    first = real.get("/runs.json").json()["checkpoints"][0]
    name = f"{first['series']}/{first['checkpoint']}"
    html = real.get("/runs", params={"checkpoint": name}, headers=CHINESE).text
    assert english_of(html, WORD.findall(str(real_results))) == set()
