"""Class inversion: an input of each class by gradient ascent, nearer to members where the model remembers them."""

import numpy as np
import torch
from torch import nn

from edgepriv.audit.inversion import inversion_part
from edgepriv.data import Dataset

CLASSES, EACH, WIDTH = 12, 10, 30


class Prototypes(nn.Module):
    """Logits by nearness to one row of each class."""

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, x):
        return -20 * torch.cdist(x, self.rows).square()


def rows_of(seed):
    draws = np.random.default_rng(seed)
    y = np.tile(np.arange(CLASSES), 2 * EACH)
    dataset = Dataset("rows", draws.random((len(y), WIDTH), dtype=np.float32), y, tuple(map(str, range(CLASSES))))
    return dataset, np.arange(len(y) // 2), np.arange(len(y) // 2, len(y))


def test_what_is_remembered_of_members_comes_out():
    dataset, members, others = rows_of(0)
    twin = Prototypes(dataset.x[:CLASSES])  # the first member of each class
    part = inversion_part(twin, "", dataset, members, others, seed=0)
    nearest, ratio = part["figures"]
    assert part["status"] == "executed"
    assert nearest["value"] == 1.0
    assert nearest["ci"][0] > 0.5
    assert ratio["value"] < 1  # nearer than two records of the class are to each other


def test_nothing_is_shown_where_the_model_knows_neither_side():
    dataset, members, others = rows_of(1)
    twin = Prototypes(np.random.default_rng(2).random((CLASSES, WIDTH), dtype=np.float32))
    low, high = inversion_part(twin, "", dataset, members, others, seed=0)["figures"][0]["ci"]
    assert low < 0.5 < high


def test_the_inputs_that_were_found_are_not_kept():
    dataset, members, others = rows_of(0)
    rows = inversion_part(Prototypes(dataset.x[:CLASSES]), "", dataset, members, others, seed=0)["classes"]
    assert len(rows) == CLASSES
    assert all(set(row) == {"class", "probability", "member", "non_member", "between"} for row in rows)


def test_why_it_cannot_be_run_is_said():
    dataset, members, others = rows_of(0)
    assert "an operator" in inversion_part(None, "an operator", dataset, members, others, 0)["reason"]
    few = inversion_part(Prototypes(dataset.x[:CLASSES]), "", dataset, members[:CLASSES], others, 0)
    assert few["status"] == "not run"
    assert "no class has 5 members" in few["reason"]


class Flat(nn.Module):
    """Answers everything alike, so that no input can be climbed to."""

    def forward(self, x):
        return torch.zeros(len(x), CLASSES) + 0 * x.sum()


def test_what_was_never_reached_is_no_figure():
    dataset, members, others = rows_of(0)
    part = inversion_part(Flat(), "", dataset, members, others, 0)
    assert part["status"] == "not run"
    assert "reached none of 12 classes" in part["reason"]
    assert "figures" not in part
