"""A toy that a small network learns in a second: four classes of 8x8 images with noise."""

import numpy as np
import pytest
import torch

from edgepriv.data import Dataset, Split, checked, make_split
from edgepriv.models import build_classifier
from edgepriv.recipe import Data, Model, Recipe
from edgepriv.training.examples import Examples


@pytest.fixture(scope="session")
def toy() -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    patterns = rng.random((4, 8, 8))
    images = 0.5 * patterns[labels] + 0.5 * rng.random((400, 8, 8))
    return checked("toy", images.astype(np.float32), labels)


@pytest.fixture(scope="session")
def split(toy) -> Split:
    return make_split(toy, Data(members=130, non_members=100, reference=50, holdout=60, validation=60), seed=0)


@pytest.fixture
def examples(toy):
    def at(index) -> Examples:
        return Examples(torch.from_numpy(toy.x[index]), torch.from_numpy(toy.y[index]))

    return at


@pytest.fixture
def classifier():
    def fresh(name="cnn", seed=0, **args):
        torch.manual_seed(seed)
        args = args or ({"width": 4} if name == "cnn" else {})
        return build_classifier(Model(name=name, args=args), 4, (1, 8, 8))

    return fresh


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Every stage and every term of the loss, as small as they come."""
    return Recipe(
        model={"name": "cnn", "args": {"width": 4}},
        train={"epochs": 2, "batch_size": 32, "flatten": 0.5, "lr": 0.01},
        robust={"epochs": 3, "batch_size": 32, "lr": 0.01, "patience": 2},
        qat={"epochs": 2, "batch_size": 32, "optimizer": "sgd", "augment": "crop"},
        adversary={"method": "pgd", "steps": 2, "eps": 0.05},
        quantize={"bits": 4},
    )
