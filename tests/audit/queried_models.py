"""A target, a shadow model and reference models that memorised random labels of a random table, ready to be asked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepriv.audit.queries import asked
from edgepriv.audit.references import Fleet, train_fleet
from edgepriv.audit.run import Target
from edgepriv.data import Dataset, Split, make_split
from edgepriv.models import Classifier
from edgepriv.recipe import Data, Recipe
from edgepriv.training import new_classifier, run_stages

CLASSES, FEATURES, MEMBERS = 20, 40, 250
SIZES = {"members": MEMBERS, "non_members": MEMBERS, "reference": 2 * MEMBERS, "holdout": 0, "validation": 0}


@dataclass(frozen=True)
class Ready:
    """Everything that ``membership_part`` takes; ``classifier`` is the target."""

    recipe: Recipe
    dataset: Dataset
    split: Split
    classifier: Classifier
    target: Target
    fleet: Fleet


def recipe_of(epochs: int) -> Recipe:
    return Recipe(
        data={"name": "noise", **SIZES},
        model={"name": "mlp", "args": {"widths": [256]}, "mean": [0.5] * FEATURES, "std": [0.3] * FEATURES},
        train={"epochs": epochs, "batch_size": 50, "lr": 5e-3, "weight_decay": 0.0},
        adversary={"eps": 0.005},
        audit={"queried_examples": 2 * MEMBERS, "pgd_steps": 4},
    )


def ready(folder: Path, epochs: int) -> Ready:
    """``epochs`` 0: nobody was trained."""
    rng = np.random.default_rng(0)
    x = rng.random((4 * MEMBERS, FEATURES)).astype(np.float32)
    y = rng.integers(CLASSES, size=len(x))
    dataset = Dataset("noise", x, y, tuple(map(str, range(CLASSES))))
    recipe = recipe_of(epochs)
    split = make_split(dataset, Data(name="noise", **SIZES), 0)
    classifier = new_classifier(recipe, CLASSES, (FEATURES,))
    run_stages(classifier, recipe, tuple(recipe.stages()), dataset, split, quiet=True)
    fleet = train_fleet(recipe, dataset, split, count=4, cache_dir=folder, label="test", jobs=1)
    return Ready(recipe, dataset, split, classifier, Target(asked(classifier).predict, classifier.eval()), fleet)
