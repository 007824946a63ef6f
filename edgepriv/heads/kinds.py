"""Every kind of head by its method: how it is trained, and how it answers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgepriv.data import Dataset, Split
from edgepriv.device.memguard import guarded
from edgepriv.heads.masks import from_record, masked
from edgepriv.heads.memguard import guard_facts, guard_of, memguard_record
from edgepriv.heads.regenerate import mask_facts, mask_record
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences.heads import MEMGUARD_METHOD

Answering = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""float32 [n, K], a model's probabilities, and the inputs [n, ...] that they answer -> float32 [n, K], what is shown."""
Record = dict[str, Any]


def trained_head(recipe: Recipe, classifier: Classifier, dataset: Dataset, split: Split) -> Record | None:
    """The head that a recipe asks for, trained.

    Args:
        recipe: settings of the head, and its seed.
        classifier: with the weights that ship; the head is trained on its answers.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        What checkpoints hold of the head; None where the recipe asks for none.

    Raises:
        UserError: for a head that needs a privacy holdout where there is none.
    """
    if recipe.head.method == "none":
        return None
    train = memguard_record if recipe.head.method == MEMGUARD_METHOD else mask_record
    return train(recipe, classifier, dataset, split)


def answering(record: Record | None, where: str) -> Answering | None:
    """What a head makes of answers.

    Args:
        record: of the head, as checkpoints hold it; None without one.
        where: its origin, for the message.

    Returns:
        (probabilities [n, K], inputs [n, ...]) -> probabilities [n, K]; None without a head.

    Raises:
        UserError: for a record that holds no head.
    """
    if record is None:
        return None
    if record["method"] == MEMGUARD_METHOD:
        guard = guard_of(record)
        return lambda probabilities, inputs: guarded(guard, probabilities, inputs)
    head = from_record(record, record["classes"], where)
    return lambda probabilities, inputs: masked(head, probabilities)


def facts_of(record: Record, classifier: Classifier, dataset: Dataset, split: Split) -> dict[str, Any]:
    """What checkpoint and manifest say of a head.

    Args:
        record: of the head.
        classifier: with the weights that ship.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        ``method``, and what was measured on members and holdout, as JSON.
    """
    measure = guard_facts if record["method"] == MEMGUARD_METHOD else mask_facts
    return measure(record, classifier, dataset, split)
