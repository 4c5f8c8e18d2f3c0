"""What is said where HELM is asked for and not installed, and what does not import it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from milepost.errors import MilepostError
from milepost.tasks.helm import installation
from milepost.tasks.registry import check_settings
from milepost.tasks.settings import TaskSettings


def test_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_version", lambda: None)
    installation.helm_version.cache_clear()
    with pytest.raises(MilepostError) as failure:
        check_settings(TaskSettings(helm=("mmlu:subject=anatomy",)))
    installation.helm_version.cache_clear()
    assert failure.value.one_line == "HELM is not installed here (pip install 'milepost[helm]')"


def test_another_version_than_the_tested_one_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installation, "_version", lambda: "0.6.0")
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: object())
    installation.helm_version.cache_clear()
    assert installation.helm_version() == "0.6.0"
    installation.helm_version.cache_clear()
    assert "crfm-helm 0.6.0 is installed; Milepost is tested with 0.5.16" in caplog.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_eval_instances": 5, "names": ("arc_easy",)}, "--max-eval-instances is for HELM's entries"),
        ({"max_eval_instances": 0, "helm": ("boolq",)}, "--max-eval-instances 0 is too small"),
        ({"limit": 0.5, "helm": ("boolq",)}, "--limit 0.5 is a share, and HELM takes a number of instances"),
    ],
)
def test_options_of_helm_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(MilepostError) as failure:
        TaskSettings(**given)
    assert str(failure.value).startswith(said)


def test_neither_the_package_nor_a_table_imports_helm() -> None:
    code = "import sys, milepost, milepost.cli.main, milepost.tasks.registry as s; "
    code += "[s.source_named(name) for name in s.SOURCES]; print('helm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
