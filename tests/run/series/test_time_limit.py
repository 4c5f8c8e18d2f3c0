"""A stranger's code that does not end is ended, and timers of others go on."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from milepost.errors import TokenizerError
from milepost.run.series import chat
from milepost.run.series.time_limit import time_limit


def test_a_loop_is_ended_and_what_ends_in_time_is_not() -> None:
    def loop() -> None:
        with time_limit(0.05, lambda: TimeoutError("too long")):
            while True:
                pass

    with pytest.raises(TimeoutError, match="too long"):
        loop()
    with time_limit(60, TimeoutError):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_timer_of_another_goes_on() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with time_limit(60, TimeoutError):
            pass
        time.sleep(0.3)
        assert rung == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_in_another_thread_nothing_is_limited() -> None:
    def work() -> None:
        with time_limit(0.01, TimeoutError):
            time.sleep(0.05)
        done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_chat_template_that_does_not_end_is_told(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MOST_SECONDS", 0.5)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    tokenizer.chat_template = loop
    with pytest.raises(TokenizerError, match="chat template takes more than"):
        chat.render_chat(tokenizer, [{"role": "user", "content": "q"}])
