"""Libraries that HELM's modules import and few of its scenarios use: imported when they are used.

To convert its dataclasses to JSON, HELM imports its synonym perturbation, which imports spaCy and nltk;
nltk's parsers and classifiers import scikit-learn and scipy.stats; a list of run specs imports `datasets`.
That takes seven times as long as the rest of HELM. In the modules listed here, and in no other, `import`
gives a stand-in, which imports the library when it is called or an attribute of it is read, and passes on.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

DEFERRED: dict[str, dict[str, tuple[str, ...]]] = {
    "helm.benchmark.augmentations.synonym_perturbation": {"spacy": ()},
    "helm.clients.gcs_client": {"requests": ()},
    "helm.common.general": {"pyhocon": ()},
    "helm.proxy.services.remote_service": {"requests": ()},
    "helm.proxy.services.service": {"mako.template": ()},
    "helm.benchmark.scenarios.math_scenario": {"datasets": ("load_dataset", "DatasetDict")},
    "helm.benchmark.scenarios.vision_language.image2struct.image2struct_scenario": {
        "datasets": ("load_dataset",)
    },
    "nltk.metrics.association": {"scipy.stats": ("fisher_exact",)},
    "nltk.metrics.scores": {"scipy.stats.stats": ("betai",)},
    "nltk.classify.scikitlearn": {
        "sklearn.feature_extraction": ("DictVectorizer",),
        "sklearn.preprocessing": ("LabelEncoder",),
    },
    "nltk.parse.transitionparser": {
        "scipy": ("sparse",),
        "sklearn": ("svm",),
        "sklearn.datasets": ("load_svmlight_file",),
    },
    "calibration.utils": {"sklearn.linear_model": ("LogisticRegression",)},
}
"""Module to what it imports, and the names that it takes from there (none: the package itself). It only calls
these or reads their attributes: none is a base class, and none is used while the module is imported."""


def defer_imports() -> None:
    """Have modules of `DEFERRED` that are imported from now on import these libraries when they use them."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class Deferred:
    """A package, or a name in a module, that is imported when it is used."""

    def __init__(self, module: str, name: str | None = None) -> None:
        self._module = module
        self._name = name

    def _found(self) -> Any:
        module = importlib.import_module(self._module)
        if self._name is None:
            return sys.modules[self._module.partition(".")[0]]
        try:
            return getattr(module, self._name)
        except AttributeError as error:
            raise ImportError(f"cannot import name {self._name!r} from {self._module!r}") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._found()(*args, **kwargs)

    def __bool__(self) -> bool:
        """Return whether the library has it: nltk has None in its place otherwise."""
        try:
            return bool(self._found())
        except ImportError:
            return False


class _Names:
    """In place of a module that names are taken from."""

    def __init__(self, module: str, names: Sequence[str]) -> None:
        for name in names:
            setattr(self, name, Deferred(module, name))


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of `DEFERRED` as Python does, and have it executed with its own `import`."""
        if fullname not in DEFERRED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Executor(spec.loader, DEFERRED[fullname])
        return spec


class _Executor(Loader):
    def __init__(self, loader: Loader, deferred: dict[str, tuple[str, ...]]) -> None:
        self._loader = loader
        self._deferred = deferred

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        own = {**vars(builtins), "__import__": functools.partial(_import, self._deferred)}
        module.__dict__["__builtins__"] = own
        self._loader.exec_module(module)


def _import(
    deferred: dict[str, tuple[str, ...]],
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """Do what `builtins.__import__` does, except for what is deferred and installed."""
    names = tuple(fromlist or ())
    if (
        level == 0
        and name in deferred
        and set(names) <= set(deferred[name])
        and name not in sys.modules
        and importlib.util.find_spec(name.partition(".")[0]) is not None
    ):
        return _Names(name, names) if names else Deferred(name)
    return builtins.__import__(name, globals, locals, names, level)
