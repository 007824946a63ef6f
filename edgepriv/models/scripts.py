"""A function of the user's own script, ``FILE.py:NAME``: loaded when a command names it, and told from earlier versions."""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from edgepriv import torchvision_compat
from edgepriv.errors import UserError
from edgepriv.models.behaviour import cause_of
from edgepriv.models.sources import code_of_file, is_users

LEAKPRO = "leakpro:"


@dataclass(frozen=True)
class Script:
    """``file``: of Python; ``name``: what it defines. ``option``: that it was given with, for messages. ``handler``: whether
    that is a class written for LeakPro (``models.leakpro``) instead of a function."""

    file: Path
    name: str
    option: str = "--trainer"
    handler: bool = False

    @property
    def title(self) -> str:
        """As the user wrote it."""
        return f"{LEAKPRO if self.handler else ''}{self.file}:{self.name}"


def script_of(option: str, written: str) -> Script:
    """The script that an option names.

    Args:
        option: such as ``--trainer``, for messages.
        written: ``"mine.py:train"``, or ``"leakpro:handler.py:Handler"``.

    Returns:
        The script, not loaded yet.

    Raises:
        UserError: for another form, and where there is no such file.
    """
    file, _, name = written.removeprefix(LEAKPRO).rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise UserError(
            f"{option} {written!r}: expected FILE.py:FUNCTION, such as mine.py:train, or leakpro:FILE.py:CLASS"
        )
    if not Path(file).is_file():
        raise UserError(f"{option}: no such file: {file}")
    return Script(Path(file), name, option, written.startswith(LEAKPRO))


def loaded(script: Script) -> Any:
    """What the script defines under its name.

    The folder of the script is where its imports are looked for first, as when it is run.

    Args:
        script: to be run, once for each version of it.

    Returns:
        A function or class, whatever stands there.

    Raises:
        UserError: for a script that cannot be run, or defines no such name.
    """
    function = getattr(_module(script, script_digest(script)), script.name, None)
    if function is None:
        raise UserError(f"{script.option}: {script.file} defines no {script.name}")
    return function


def beside(script: Script, name: str) -> Any:
    """What else the script defines.

    Args:
        script: to be run, once for each version of it.
        name: which is looked for.

    Returns:
        What stands under that name; None for nothing.
    """
    return getattr(_module(script, script_digest(script)), name, None)


def script_digest(script: Script) -> str:
    """What tells a function from other versions of it, and from other functions of the same file.

    Args:
        script: that names the function.

    Returns:
        Hex sha256 of the script, of everything of the user's that it imports, and of the name.
    """
    _find_beside(script.file)
    return hashlib.sha256("\n".join([script.name, *code_of_file(script.file)]).encode()).hexdigest()


@cache
def _module(script: Script, digest: str) -> Any:
    path, module = script.file.resolve(), script.file.stem
    known = sys.modules.get(module)
    if known is not None and not _is_own(known):
        raise UserError(f"{script.option} {script.title}: another module is called {module!r} already: rename the file")
    _forget(path)
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{script.option}: {script.file} is not a Python script")
    made = importlib.util.module_from_spec(spec)
    torchvision_compat.prepare()
    _SETTINGS.pop(path, None)  # of an earlier version of the file
    sys.modules[module] = made  # before it runs, as an import does: what it defines can then be sent to other processes
    try:
        with settings_kept(script):
            spec.loader.exec_module(made)
    except (Exception, SystemExit) as error:
        sys.modules.pop(module, None)
        raise UserError(f"{script.option} {script.title} cannot be run: {cause_of(error)}") from error
    return made


@contextmanager
def settings_kept(script: Script) -> Iterator[None]:
    """While a script of the user's runs, what it set for its whole process holds; afterwards, what held before: the default
    dtype and device of torch, whether there are gradients, the working folder.

    Args:
        script: that runs.

    Yields:
        Nothing.
    """
    path = script.file.resolve()  # before it may leave the folder; two folders have a file of that name each
    dtype, device, gradients, folder = (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        os.getcwd(),
    )
    _set(*_SETTINGS.get(path, (dtype, device)))
    try:
        yield
    finally:
        _SETTINGS[path] = torch.get_default_dtype(), torch.get_default_device()
        _set(dtype, device)
        torch.set_grad_enabled(gradients)
        os.chdir(folder)


_SETTINGS: dict[Path, tuple[torch.dtype, torch.device]] = {}


def _set(dtype: torch.dtype, device: torch.device) -> None:
    torch.set_default_dtype(dtype)
    if torch.get_default_device() != device:
        torch.set_default_device(device)


def _find_beside(file: Path) -> None:
    folder = str(file.resolve().parent)
    if sys.path[:1] != [folder]:
        sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]


def _forget(file: Path) -> None:
    """Everything of the user's that the script imports is loaded anew, wherever it stands, and so is what stands beside it: it
    may have changed since, or be another folder's."""
    folder = file.parent
    beside = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    imported = {entry.partition(" ")[0] for entry in code_of_file(file)}
    for name in list(sys.modules):
        if (name in imported or name.partition(".")[0] in beside) and _is_own(sys.modules[name]):
            del sys.modules[name]
    importlib.invalidate_caches()


def _is_own(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and is_users(Path(file))
