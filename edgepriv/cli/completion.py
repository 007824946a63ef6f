"""What the shell completes options with."""

import json
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from edgepriv.api.verb import Argument
from edgepriv.errors import UserError
from edgepriv.files import write_json

Complete = Callable[[str], list[str]]


def completion_of(argument: Argument) -> Complete | None:
    """How the shell completes the value of an option: with the known names that begin like what was typed.

    Args:
        argument: of a verb.

    Returns:
        A function of what was typed that returns names; None leaves it to the shell, which completes files.
    """
    if argument.choices:
        return lambda incomplete: [each for each in argument.choices if each.startswith(incomplete)]
    kind = argument.option.complete
    if not kind:
        return None
    return lambda incomplete: completed(kind, incomplete)


def completed(kind: str, incomplete: str) -> list[str]:
    """Names of a kind that begin like what was typed. Attacks are a list with commas, of which the last is completed.

    Args:
        kind: "attack", "data" or "model".
        incomplete: what was typed.

    Returns:
        The whole values, with the attacks that stand before the last comma.
    """
    before, comma, last = incomplete.rpartition(",") if kind == "attack" else ("", "", incomplete)
    return [f"{before}{comma}{name}" for name in names(kind) if name.startswith(last)]


def names(kind: str) -> list[str]:
    """Known names of a kind.

    They are in modules that import torch, which takes seconds: they are kept in the user's cache folder until edgepriv or
    torchvision changes.

    Args:
        kind: "attack", "data" or "model".

    Returns:
        All names of that kind.
    """
    kept = Path(platformdirs.user_cache_dir("edgepriv")) / "completion.json"
    version = _version()
    try:
        known = json.loads(kept.read_text())
        if known["version"] == version:
            return list(known[kind])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    by_kind = {each: ask() for each, ask in _ASKED.items()}
    with suppress(UserError):  # completion is then slow, and right all the same
        write_json(kept, {"version": version, **by_kind})
    return by_kind[kind]


def _version() -> list[int]:
    """When the sources that know the names were changed."""
    sources = [
        Path(__file__).parent.parent / name for name in ("audit/attacks/__init__.py", "data/sources.py", "models")
    ]
    torchvision = find_spec("torchvision")
    if torchvision and torchvision.origin:
        sources.append(Path(torchvision.origin))
    return [path.stat().st_mtime_ns for path in sources]


def _attacks() -> list[str]:
    return ["all", "quick", *import_module("edgepriv.audit.attacks").ATTACKS]


def _data() -> list[str]:
    sources = import_module("edgepriv.data.sources")
    return [*sources.NAMED, *sources.IMAGE_SETS, *(f"{prefix}:" for prefix in sources.PREFIXES)]


def _models() -> list[str]:
    return [*import_module("edgepriv.models.classifier").NAMED, *import_module("edgepriv.models.zoo").names()]


_ASKED: dict[str, Callable[[], list[str]]] = {"attack": _attacks, "data": _data, "model": _models}
