"""edgepriv: from a PyTorch classifier to one small, robust, private and audited ONNX file."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepriv.api import attacks, audit, bench, compare, export, harden, train

__all__ = ["attacks", "audit", "bench", "compare", "export", "harden", "train"]


class _Verbs(ModuleType):
    """Imports the verbs when one is first asked for: importing torch takes seconds that ``edgepriv --help`` has no use for."""

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'edgepriv' has no attribute {name!r}")
        from edgepriv import api

        return getattr(api, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the package edgepriv.audit would put that package where the verb of the same name belongs.
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Verbs
