"""Robust accuracy of records that belong to persons: alike records widen its intervals, on every way to it."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepriv.accuracy import effective
from edgepriv.audit.robust import robustness_part
from edgepriv.audit.run import Target
from edgepriv.audit.statistics import wilson
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe
from edgepriv.report.tables import robustness_table

PERSONS, RECORDS = 40, 5
RNG = np.random.default_rng(0)
X = np.repeat(RNG.uniform(0.3, 0.7, (PERSONS, 2)), RECORDS, axis=0).astype(np.float32)
GROUPS = np.repeat(np.arange(PERSONS), RECORDS)


class Side(nn.Module):
    def forward(self, x):
        return 20 * torch.stack([x[:, 0] - x[:, 1], x[:, 1] - x[:, 0]], 1)


def served(x):
    return Side()(torch.from_numpy(np.ascontiguousarray(x))).softmax(1).numpy()


def measured(groups, twin):
    dataset = Dataset("persons", X, served(X).argmax(1).astype(np.int64), ("a", "b"), groups=groups)
    recipe = Recipe(adversary={"eps": 0.05}, audit={"robust": "quick", "robust_examples": len(X)})
    return robustness_part(Target(served, twin, no_twin="it is a test"), dataset, np.arange(len(X)), recipe)


@pytest.mark.parametrize("twin", [Side(), None], ids=["with gradients", "without"])
def test_intervals_are_of_persons_where_these_are_known(twin):
    by_record, by_person = measured(None, twin), measured(GROUPS, twin)
    assert by_person["n_persons"] == PERSONS
    assert "n_persons" not in by_record
    for one, other in zip(by_record["attacks"], by_person["attacks"], strict=True):
        assert one["robust_accuracy"] == other["robust_accuracy"]
        assert other["ci"][1] - other["ci"][0] > 1.5 * (one["ci"][1] - one["ci"][0])
    assert "intervals of 40 persons" in str(robustness_table(by_person).title)
    # Records of a person are copies here, so there are as many draws as persons.
    held = np.arange(len(X)) < len(X) * by_person["attacks"][-1]["robust_accuracy"]
    assert effective(held, GROUPS)[1] == pytest.approx(PERSONS, rel=0.1)
    assert by_person["attacks"][-1]["ci"] == pytest.approx(list(wilson(*effective(held, GROUPS))), abs=0.05)
