import numpy as np
import pytest

from edgepriv import data
from edgepriv.data import Dataset, halves_of, make_split
from edgepriv.recipe import Data


@pytest.fixture(scope="module")
def digits():
    dataset = data.load("digits")
    return dataset, make_split(dataset, Data(name="digits"), 3)


def test_what_is_chosen_by_is_never_what_is_told(digits):
    dataset, split = digits
    choosing, telling = halves_of(dataset, split)
    for role in ("members", "non_members"):
        first, second = getattr(choosing, role), getattr(telling, role)
        assert not set(first) & set(second)
        assert sorted([*first, *second]) == getattr(split, role).tolist()
        assert abs(len(first) - len(second)) <= 1
    assert np.array_equal(choosing.reference, split.reference)
    assert np.array_equal(halves_of(dataset, split).choosing.members, choosing.members)  # the same every time


def test_a_person_is_in_one_half_alone(digits):
    plain, _ = digits
    groups = np.arange(len(plain)) // 5
    dataset = Dataset(plain.name, plain.x, plain.y, plain.class_names, groups=groups)
    choosing, telling = halves_of(dataset, make_split(dataset, Data(name="digits"), 0))
    assert not set(groups[choosing.non_members]) & set(groups[telling.non_members])
