"""Where the workers of this machine compute, by options and devices."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.executors.local import Place, local_places, workers_at_a_device


def config(**options: Any) -> EvalConfig:
    return EvalConfig.from_options("run", "where", output_path="out", **options)


def with_gpus(monkeypatch: pytest.MonkeyPatch, n: int, cores: int = 16, visible: str = "") -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr("milepost.run.executors.local.places.usable_cores", lambda: cores)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_several_gpus_get_a_worker_each_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 4)
    assert local_places(config()) == [Place("cuda", 4, str(number)) for number in range(4)]
    assert local_places(config(devices="2,0")) == [Place("cuda", 8, "2"), Place("cuda", 8, "0")]
    assert local_places(config(workers=1)) == [Place("cuda", 16, "0")]
    assert local_places(config(device="cuda:1", workers=1)) == [Place("cuda", 16, "1")]
    assert local_places(config(device="cpu")) is None


def test_gpus_are_counted_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 2, visible="3,GPU-8a")
    assert [place.gpu for place in local_places(config(workers="auto")) or ()] == ["3", "GPU-8a"]


def test_one_device_is_used_by_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 1)
    assert local_places(config()) is None
    with_gpus(monkeypatch, 0)
    assert local_places(config()) is None


def test_on_a_cpu_workers_divide_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0)
    assert local_places(config(workers="auto")) == [Place("cpu", 4)] * 4
    assert local_places(config(workers=2)) == [Place("cpu", 8)] * 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert local_places(config(workers=2)) == [Place("cpu", 3)] * 2
    with_gpus(monkeypatch, 0, cores=2)
    assert local_places(config(workers="auto")) is None


def test_on_a_cpu_there_are_no_more_workers_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0, cores=3)
    assert local_places(config(workers=3)) == [Place("cpu", 1)] * 3
    with pytest.raises(MilepostError, match="4 workers, and this process may use 3 cores") as caught:
        local_places(config(workers=4))
    assert (caught.value.exit_code, caught.value.hint) == (2, "at most --workers 3: a worker needs a core")


def test_all_workers_of_a_cpu_share_its_memory_and_those_of_gpus_have_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_gpus(monkeypatch, 0)
    assert [workers_at_a_device(config(workers=n)) for n in (None, 2, "auto")] == [1, 2, 4]
    with_gpus(monkeypatch, 2)
    assert workers_at_a_device(config(workers=2)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 3}, "3 workers, and 2 devices"),
        ({"devices": "0,2"}, "there is no GPU 2 here"),
        ({"devices": "0,0"}, "--devices '0,0' is not a list of GPUs"),
        ({"devices": "a"}, "--devices 'a' is not a list of GPUs"),
        ({"devices": "0", "device": "cpu"}, "--devices names GPUs"),
        ({"workers": 2, "device": "cuda:0"}, "2 workers, and 1 devices"),
        ({"workers": 0}, "--workers 0 is not a number of workers"),
        ({"workers": "many"}, "--workers 'many' is not a number of workers"),
        ({"workers": 2, "engine": "openai", "base_url": "http://127.0.0.1:9"}, "needs no workers"),
    ],
)
def test_what_cannot_be_had_is_said_before_any_work(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 2)
    with pytest.raises(MilepostError, match=message) as caught:
        local_places(config(**options))
    assert caught.value.exit_code == 2
    assert caught.value.hint
