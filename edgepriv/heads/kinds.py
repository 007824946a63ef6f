"""Every kind of head by its method: how it is trained, and how it answers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgepriv.data import Dataset, Split
from edgepriv.heads.masks import from_record, masked
from edgepriv.heads.regenerate import mask_record
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe

Answering = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""float32 [n, K], a model's probabilities, and the inputs [n, ...] that they answer -> float32 [n, K], what is shown."""
Record = dict[str, Any]


def trained_head(recipe: Recipe, classifier: Classifier, dataset: Dataset, split: Split) -> Record | None:
    """The head of ``recipe``, trained on the answers of ``classifier``, which has the weights that ship; None for none."""
    if recipe.head.method == "none":
        return None
    return mask_record(recipe, classifier, dataset, split)


def answering(record: Record | None, where: str) -> Answering | None:
    """What a head makes of answers; None without one. ``where`` names its origin in an error."""
    if record is None:
        return None
    head = from_record(record, record["classes"], where)
    return lambda probabilities, inputs: masked(head, probabilities)
