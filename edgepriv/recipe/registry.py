"""Registries that are their files: a new entry is a new file in a package, and no line anywhere else."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def modules_in(package: str, path: Iterable[str]) -> Iterator[tuple[str, ModuleType]]:
    """The modules of a package.

    Args:
        package: its dotted name.
        path: its ``__path__``.

    Returns:
        Name and module of each, imported, in the order of the names.
    """
    for name in sorted(module.name for module in iter_modules(path)):
        yield name, import_module(f"{package}.{name}")
