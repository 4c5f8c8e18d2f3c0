"""Libraries that HELM imports early and uses late are imported late, and then are what they always were."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

from milepost.tasks.helm import deferred

LATE = ("spacy", "sklearn", "scipy.stats", "datasets", "pandas", "requests", "pyhocon", "mako")
IMPORTS = """
import sys
from milepost.tasks.helm.deferred import defer_imports
defer_imports()
import milepost.tasks.helm.runs, milepost.tasks.helm.evaluation
from helm.benchmark.run_spec import discover_run_spec_functions
discover_run_spec_functions()
import helm.benchmark.metrics.basic_metrics
print([name for name in sys.argv[1:] if name in sys.modules])
"""
MODEL = """
import sys
from transformers.models.llama import modeling_llama
print([name for name in sys.argv[1:] if name in sys.modules])
"""
USES = """
import importlib, json, sys
import numpy as np
from milepost.tasks.helm.deferred import DEFERRED, Deferred, defer_imports
if sys.argv[1] == "deferred":
    defer_imports()
modules = {name: importlib.import_module(name) for name in DEFERRED}
values = [value for module in modules.values() for value in vars(module).values()]
n_deferred = sum(isinstance(value, Deferred) for value in values)
folder = sys.argv[2]

from helm.benchmark.augmentations import synonym_perturbation
from helm.benchmark.scenarios import math_scenario
from helm.benchmark.scenarios.vision_language.image2struct import image2struct_scenario
from helm.clients import gcs_client
from helm.common import general
from helm.proxy.services import remote_service, service
from calibration.utils import get_platt_scaler
from nltk.classify.scikitlearn import SklearnClassifier
from nltk.metrics import scores
from nltk.metrics.association import BigramAssocMeasures
from nltk.parse import transitionparser
from sklearn.naive_bayes import BernoulliNB

scaler = get_platt_scaler(np.array([0.2, 0.4, 0.6, 0.9]), np.array([0, 1, 0, 1]))
rows = f"{folder}/rows.json"
with open(f"{folder}/parser", "w") as file:
    file.write("1 1:0.5\\n-1 2:1\\n")
vectors, labels = transitionparser.load_svmlight_file(f"{folder}/parser")
machine = transitionparser.svm.SVC(kernel="poly").fit(vectors.toarray(), labels)
classifier = SklearnClassifier(BernoulliNB()).train([({"a": 1}, "x"), ({"b": 1}, "y")])
found = {
    "spacy": [token.text for token in synonym_perturbation.spacy.blank("en")("Two words.")],
    "math": math_scenario.load_dataset("json", data_files=rows, cache_dir=folder)["train"][0],
    "cast": math_scenario.DatasetDict({}) == {},
    "image2struct": image2struct_scenario.load_dataset("json", data_files=rows, cache_dir=folder)["train"][0],
    "gcs": gcs_client.requests.Request("GET", "http://a/b").prepare().url,
    "remote": remote_service.requests.exceptions.ConnectionError.__name__,
    "mako": service.mako.template.Template("${a}").render(a=1),
    "hocon": general.parse_hocon("a: 1"),
    "platt": scaler(np.array([0.5])).tolist(),
    "classifier": classifier.classify({"a": 1}),
    "betai": bool(scores.betai),
    "fisher": BigramAssocMeasures.fisher(3, (5, 6), 20),
    "parser": machine.predict(transitionparser.sparse.csr_matrix([[0.0, 1.0]]).toarray()).tolist(),
}
print(json.dumps([n_deferred, found]))
"""


def said(code: str, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


def test_planning_and_metrics_import_none_of_them(helm_environment: dict[str, str]) -> None:
    # Before 5.23, transformers itself imports sklearn.
    of_transformers = said(MODEL, helm_environment, *LATE)
    assert said(IMPORTS, helm_environment, *LATE) == of_transformers


def test_each_works_as_without_deferral_where_it_is_used(
    helm_environment: dict[str, str], tmp_path: Path
) -> None:
    answers = {}
    for how in ("plain", "deferred"):
        (tmp_path / how).mkdir()
        (tmp_path / how / "rows.json").write_text('{"text": "a row"}\n')
        answers[how] = json.loads(said(USES, helm_environment, how, str(tmp_path / how)))
    (n_plain, plain), (n_deferred, late) = answers["plain"], answers["deferred"]
    assert late == plain
    n_names = sum(max(1, len(names)) for taken in deferred.DEFERRED.values() for names in taken.values())
    assert (n_plain, n_deferred) == (0, n_names)


def test_what_is_not_listed_or_not_installed_is_imported_as_python_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"absent_library": ("anything",), "colorsys": ("rgb_to_hsv",)}
    monkeypatch.setitem(deferred.DEFERRED, "made_module", listed)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "made_module.py").write_text(
        "try:\n    from absent_library import anything\nexcept ImportError:\n    anything = None\n"
        "from colorsys import rgb_to_hsv, hsv_to_rgb\n"
    )
    deferred.defer_imports()
    made = importlib.import_module("made_module")
    monkeypatch.delitem(sys.modules, "made_module")
    assert made.anything is None
    assert not isinstance(made.rgb_to_hsv, deferred.Deferred)
