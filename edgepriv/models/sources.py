"""The user's own code: modules that a ``package.module:factory`` names, and every file of theirs that it imports."""

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import os
import random
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgepriv import torchvision_compat
from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.models.features import network_shape
from edgepriv.models.read_files import seen_of, watched
from edgepriv.recipe import Model

_INSTALLED = tuple(
    Path(sysconfig.get_paths()[place]).resolve() for place in ("stdlib", "platstdlib", "purelib", "platlib")
)
_INSTALLED_NAMES = {"site-packages", "dist-packages"}


def is_own(name: str) -> bool:
    """Whether a model is code of the user's rather than an architecture of ours.

    Args:
        name: of the model.

    Returns:
        True for ``package.module:factory``.
    """
    return ":" in name


def refuse_unconfirmed(asked: str, confirmed: Model | None, who: str) -> None:
    """Refuse to import a module that only a file asks for.

    Args:
        asked: name of the model in the file.
        confirmed: the model that the user has named, None for none.
        who: the file, for the message.

    Raises:
        UserError: unless the user has named the module.
    """
    if is_own(asked) and (confirmed is None or confirmed.name != asked):
        raise UserError(
            f"{who} asks to import {asked!r}: pass --model {asked} if you trust that module (no other option is needed)"
        )


def imported(name: str) -> Callable[..., Any]:
    """The factory that ``package.module:factory`` names.

    Args:
        name: of the model.

    Returns:
        The factory.

    Raises:
        UserError: when there is none, and where the module fails as it is imported.
    """
    module, _, attribute = name.partition(":")
    _find_beside_the_command()
    torchvision_compat.prepare()
    try:
        with watched(module):
            factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return factory
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"model {name!r} cannot be imported: {error}") from error
    except Exception as error:  # whatever the module itself raises while it runs
        raise UserError(f"model {name!r} cannot be imported: {type(error).__name__}: {error}") from error


def code_of(model: Model, num_classes: int, input_shape: Sequence[int]) -> list[str]:
    """What a network depends on beside our own code, sorted; empty for our own architectures.

    Args:
        model: ``name`` and the arguments of the factory.
        num_classes: K, as the factory is given it.
        input_shape: of one example.

    Returns:
        "module sha256" for each of the user's files that its module imports, directly or through others, and "path sha256"
        for each file that is read while it is imported or while the factory makes the network.
    """
    if not is_own(model.name):
        return []
    module = model.name.partition(":")[0]
    factory = imported(model.name)
    with watched(module), _generators_kept(), contextlib.suppress(Exception):  # what it raises is told where it is made
        factory(num_classes=num_classes, input_shape=network_shape(model.features, input_shape), **model.args)
    seen, folder = seen_of(module), _origin(module)
    code = _code_from([module, *seen.modules], module.partition(".")[0], {})
    origins = {_origin(entry.partition(" ")[0]) for entry in code}
    others = [path for path in seen.files if path.is_file() and is_users(path) and path not in origins]
    start = folder.parent if folder is not None else Path.cwd()
    return sorted([*code, *(f"{os.path.relpath(path, start)} {sha256_of(path)}" for path in others)])


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """The generators of Python, NumPy and torch go on from where they were."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that the user's code draws from
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


def code_of_file(file: Path) -> list[str]:
    """As ``code_of``, of a script, whose imports are looked for as they would be if it were run.

    Nothing is imported for it, and whatever has been imported before does not count: the same files give the same answer.

    Args:
        file: the script.

    Returns:
        "module sha256" for it and for each of the user's files that it imports, sorted.
    """
    content = file.read_bytes()
    digests = {file.stem: hashlib.sha256(content).hexdigest()}
    importlib.invalidate_caches()  # a file may be new
    return _code_from(list(_imports_of(content, file.stem, False)), file.stem, digests, by_path=True)


def _code_from(waiting: list[str], own_package: str, digests: dict[str, str], *, by_path: bool = False) -> list[str]:
    """``waiting``: modules by name; ``digests``: name -> sha256 of those that are known already. ``by_path``: look for modules
    without an import; otherwise Python looks, which imports the parents of a name."""
    while waiting:
        current = waiting.pop()
        origin = _file_of(_spec_of(current)) if by_path else _origin(current)
        if current in digests or origin is None or not (is_users(origin) or current.partition(".")[0] == own_package):
            continue
        content = origin.read_bytes()
        digests[current] = hashlib.sha256(content).hexdigest()
        parents = current.split(".")[:-1]
        waiting += [".".join(parents[: depth + 1]) for depth in range(len(parents))]
        if origin.suffix == ".py":
            names = _imports_of(content, current, origin.name == "__init__.py")
            waiting += names if by_path else filter(_may_be_looked_for, names)
    return sorted(f"{imported_name} {digest}" for imported_name, digest in digests.items())


def _find_beside_the_command() -> None:
    """Modules of the folder that the command is run in are found as well, as ``python -m`` finds them."""
    if not {os.getcwd(), ""} & set(sys.path):
        sys.path.append(os.getcwd())


def _origin(module: str) -> Path | None:
    """The file that a module is loaded from; None for packages without one, built-in ones and names that are no module."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    try:
        spec = None if loaded else importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    origin = loaded or (spec.origin if spec is not None and spec.has_location else None)
    path = Path(origin) if origin else None
    return path if path is not None and path.is_file() else None


def _file_of(spec: ModuleSpec | None) -> Path | None:
    """The same of a module that was only looked for."""
    path = Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    return path if path is not None and path.is_file() else None


def is_users(origin: Path) -> bool:
    """Whether a file of Python is the user's own: neither installed nor edgepriv's.

    Args:
        origin: the file.

    Returns:
        True for the user's.
    """
    path = origin.resolve()
    installed = any(path.is_relative_to(place) for place in _INSTALLED) or _INSTALLED_NAMES & set(path.parts)
    return not installed and not path.is_relative_to(Path(__file__).parent.parent)


def _imports_of(source: bytes, module: str, is_package: bool) -> Iterator[str]:
    """The full names of what a source may import; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            for alias in node.names:
                yield f"{base}.{alias.name}"


def _may_be_looked_for(name: str) -> bool:
    """``find_spec`` imports the parents of a name, and nothing is imported that the user's own code has not imported: a name
    counts if it or its parent has been."""
    parent = name.rpartition(".")[0]
    return bool(name) and (name in sys.modules or not parent or parent in sys.modules)


def _spec_of(name: str) -> ModuleSpec | None:
    """Where ``a.b.c`` would be loaded from: ``a`` as Python looks for it, what is below it in the folders of its parent. None
    for what is no module, and for what is below a package that is installed."""
    parent = name.rpartition(".")[0]
    if not all(name.split(".")):
        return None
    folders = None
    if parent:
        above = _spec_of(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        origin = _file_of(above)
        if origin is not None and not is_users(origin):
            return None
        folders = list(above.submodule_search_locations)
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, folders)
        except (ImportError, AttributeError, ValueError, KeyError):
            continue
        if spec is not None:
            return spec
    # A folder without __init__.py below another, which Python looks for only once that has been imported.
    below = [str(place) for folder in folders or () if (place := Path(folder, name.rpartition(".")[2])).is_dir()]
    if not below:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = below
    return namespace
