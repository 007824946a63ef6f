"""edgepriv: from a PyTorch classifier to one small, robust, private and audited ONNX file."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgepriv.api import audit, bench, compare, export, harden, train

__all__ = ["audit", "bench", "compare", "export", "harden", "train"]


def __getattr__(name: str) -> Any:
    """Import the verbs when one is first asked for: importing torch takes seconds that ``edgepriv --help`` has no use for."""
    if name not in __all__:
        raise AttributeError(f"module 'edgepriv' has no attribute {name!r}")
    from edgepriv import api

    # Set all at once, because importing the package edgepriv.audit puts that package where the verb belongs.
    globals().update({verb: getattr(api, verb) for verb in __all__})
    return globals()[name]
