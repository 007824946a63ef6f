"""What ``--set SECTION.KEY=VALUE`` of a benchmark asks of a recipe."""

import json
from typing import Any


def changes_asked(pairs: list[str]) -> dict[str, dict[str, Any]]:
    """``["dp.epsilon=3", "train.select=best"]`` as ``Recipe.with_changes`` takes it; a value that is no JSON is a word."""
    changes: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        name, value = pair.split("=", 1)
        section, key = name.split(".", 1)
        try:
            changes.setdefault(section, {})[key] = json.loads(value)
        except json.JSONDecodeError:
            changes.setdefault(section, {})[key] = value
    return changes


def changed_words(changes: dict[str, dict[str, Any]]) -> list[str]:
    """For the name of a folder."""
    return [f"{section}.{key}={value}" for section, keys in changes.items() for key, value in keys.items()]
