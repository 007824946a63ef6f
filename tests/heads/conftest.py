"""Noise with random labels: what a network can only know by heart."""

import numpy as np
import pytest

from edgepriv.data import Dataset, Split, checked, make_split
from edgepriv.recipe import Data


@pytest.fixture(scope="session")
def overfitted() -> tuple[Dataset, Split]:
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 4
    x = rng.random((900, 200))
    dataset = checked("overfitted", x.astype(np.float32), labels)
    return dataset, make_split(
        dataset, Data(members=200, non_members=200, reference=200, holdout=200, validation=10), seed=0
    )
