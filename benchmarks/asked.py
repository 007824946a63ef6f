"""What ``--set SECTION.KEY=VALUE`` and ``--data KEY=VALUE`` of a benchmark ask of a recipe."""

import json
from typing import Any


def pair_of(pair: str, written: str) -> tuple[str, str]:
    """Name and value; ``written`` is how it must be written, such as KEY=VALUE."""
    name, given, value = pair.partition("=")
    if not (name and given and value) or ("." in written) != ("." in name):
        raise SystemExit(f"error: {pair!r} is not {written}")
    return name, value


def changes_asked(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """``["dp.epsilon=3", "train.select=best"]`` as ``Recipe.with_changes`` takes it; a value that is no JSON is a word."""
    changes: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        name, value = pair_of(pair, "SECTION.KEY=VALUE")
        section, key = name.split(".", 1)
        try:
            changes.setdefault(section, {})[key] = json.loads(value)
        except json.JSONDecodeError:
            changes.setdefault(section, {})[key] = value
    return changes


def changed_words(changes: dict[str, dict[str, Any]]) -> list[str]:
    """For the name of a folder."""
    return [f"{section}.{key}={value}" for section, keys in changes.items() for key, value in keys.items()]
