"""What the user's own code reads and imports while it runs: files of settings and numbers, modules by a computed name."""

import builtins
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev", "/etc", "/usr")))


@dataclass
class Seen:
    """``files``: read, in the order of the first time; ``modules``: imported, by name."""

    files: dict[Path, None] = field(default_factory=dict)
    modules: dict[str, None] = field(default_factory=dict)


_seen: dict[str, Seen] = {}


def seen_of(module: str) -> Seen:
    """What was seen under a name since this process began: a module runs once, when it is first imported.

    Args:
        module: its name.

    Returns:
        The files and modules, which grow with what is seen later.
    """
    return _seen.setdefault(module, Seen())


@contextmanager
def watched(module: str) -> Iterator[None]:
    """Note what is read by ``open`` (as NumPy, torch, json and pathlib do) and which modules are new afterwards.

    Args:
        module: under whose name it is noted (``seen_of``).

    Yields:
        Nothing; it is watched until the block ends.
    """
    seen, before = seen_of(module), set(sys.modules)
    builtin, of_io = _noting(builtins.open, seen), _noting(io.open, seen)
    with mock.patch.object(builtins, "open", builtin), mock.patch.object(io, "open", of_io):
        try:
            yield
        finally:
            seen.modules |= dict.fromkeys(sorted(set(sys.modules) - before))


def _noting(opened: Callable[..., Any], seen: Seen) -> Callable[..., Any]:
    def noting(file: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        stream = opened(file, mode, *arguments, **keywords)
        if not isinstance(file, int) and not set(mode) & set("wax"):
            path = Path(file.decode() if isinstance(file, bytes) else file).resolve()
            if path.is_file() and not any(path.is_relative_to(place) for place in _SYSTEM):
                seen.files[path] = None
        return stream

    return noting
