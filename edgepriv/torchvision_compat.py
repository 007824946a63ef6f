"""Import torchvision beside any torch.

A CPU build of torch next to the CUDA-built torchvision wheel is common, and then torchvision's compiled
library cannot load: the import dies while registering fake kernels for ``torchvision::nms``, which does not
exist. edgepriv uses none of the compiled operators, so declaring the two schemas that the import asks for is enough.
Import torchvision only through this module; what a user's own code imports, ``prepare`` makes importable.
"""

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

_MISSING_OPERATORS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@cache
def _declared_operators() -> torch.library.Library | None:
    """The schemas that stand in for the compiled library; kept alive for the life of the process."""
    if _compiled_library_loads():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in _MISSING_OPERATORS.values():
        library.define(schema)
    return library


def _compiled_library_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed")
    compiled = [path for path in Path(spec.origin).parent.glob("_C*") if path.suffix in {".so", ".pyd", ".dylib"}]
    try:
        for path in compiled:
            torch.ops.load_library(str(path))
    except (OSError, RuntimeError):
        return False
    return bool(compiled) and hasattr(torch.ops.torchvision, "nms")


def prepare() -> None:
    """Make ``import torchvision`` work in code that is about to run, where torchvision is installed. Nothing is imported."""
    if importlib.util.find_spec("torchvision") is not None:
        _declared_operators()


def import_torchvision(submodule: str) -> ModuleType:
    """Import a module of torchvision, whatever build of torch is installed.

    Args:
        submodule: its name: "models" is ``torchvision.models``.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: without torchvision.
    """
    _declared_operators()
    return importlib.import_module(f"torchvision.{submodule}")
