"""edgepriv: from a PyTorch classifier to one small, robust, private and audited ONNX file."""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime sends usage events to its makers unless this is set before it is imported."""

VERBS = ("attacks", "audit", "bench", "compare", "defences", "export", "harden", "quickstart", "show", "train", "tune")
_ELSEWHERE = {"Recipe": "edgepriv.recipe", "UserError": "edgepriv.errors", "GateFailed": "edgepriv.errors"}

__all__ = ["GateFailed", "Recipe", "UserError", *VERBS]


class _Callable(ModuleType):
    """A package that has the name of a verb, and is called as the verb.

    ``edgepriv.audit`` is both: the verb of the API, and the package whose modules are imported as ``edgepriv.audit.gate``.
    Python binds an imported package to its name in the parent, so one name can hold only one of them; a package that can
    be called is both, whichever is asked for first.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._verb()(*arguments, **options)

    @property
    def __signature__(self) -> Any:
        return self._verb().__signature__

    def _verb(self) -> Any:
        return getattr(import_module("edgepriv.api"), self.__name__.rpartition(".")[2])


class _Lazy(ModuleType):
    """Imports a name when it is first asked for: importing torch takes seconds that ``edgepriv --help`` has no use for."""

    def __getattr__(self, name: str) -> Any:
        if name == "audit":
            return import_module("edgepriv.audit")
        if name in VERBS:
            return getattr(import_module("edgepriv.api"), name)
        if name in _ELSEWHERE:
            return getattr(import_module(_ELSEWHERE[name]), name)
        raise AttributeError(f"module 'edgepriv' has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in VERBS and isinstance(value, ModuleType):
            value.__class__ = _Callable
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Lazy
