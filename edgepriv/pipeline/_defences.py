"""Which defences there are."""

from typing import Any

from edgepriv.recipe.defences import DEFENCES


def defences() -> list[dict[str, Any]]:
    """Every defence by name: how it is asked for, what it does, its paper, and what it conflicts with.

    Returns:
        One dictionary for each, JSON-ready. ``fields``: of the recipe that are its own, ``*`` for every stage; ``stage``: of
        training that is there for it, None without one; ``stacked``: whether its reference models can be trained many at a
        time; ``conflicts``: ``beside``, names of other defences, and ``reason``, a sentence.
    """
    return [
        {
            "name": defence.name,
            "title": defence.title,
            "option": defence.option,
            "what": defence.what.replace("`", ""),
            "paper": defence.source.replace("`", ""),
            "fields": list(defence.fields),
            "stage": defence.stage,
            "stacked": defence.stacked,
            "conflicts": [{"beside": list(each.beside), "reason": each.reason} for each in defence.conflicts],
        }
        for defence in DEFENCES.values()
    ]
