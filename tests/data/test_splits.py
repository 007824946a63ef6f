"""Who is a member: disjoint, repeatable, recorded, and checked when it is made again."""

from dataclasses import replace

import numpy as np
import pytest

from edgepriv.data import Dataset, checked, load, make_split, members_beside, remake_split
from edgepriv.data.splits import ROLES
from edgepriv.errors import UserError
from edgepriv.recipe import Data


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    return checked("toy", rng.random((200, 3)), np.arange(200) % 4)


SIZES = Data(members=50, non_members=40, reference=60, holdout=10, validation=20)


def test_roles_are_disjoint_sorted_and_of_the_sizes_asked(dataset):
    split = make_split(dataset, SIZES, seed=3)
    parts = [getattr(split, role) for role in ROLES]
    assert [len(part) for part in parts] == [50, 40, 60, 10, 20]
    assert len(np.unique(np.concatenate(parts))) == 180
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)


def test_one_seed_one_split(dataset):
    first, again, other = (make_split(dataset, SIZES, seed) for seed in (3, 3, 4))
    assert first.record() == again.record()
    assert first.record()["sha256"]["members"] != other.record()["sha256"]["members"]


def test_no_example_has_a_favourite_role(dataset):
    """Over many seeds each example is a member as often as the share says."""
    seeds = 300
    times = sum(np.isin(np.arange(200), make_split(dataset, SIZES, seed).members) for seed in range(seeds)) / seeds
    assert abs(times - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / seeds)


def test_sizes_left_open_are_shares(dataset):
    larger = checked("toy", np.tile(dataset.x, (2, 1)), np.tile(dataset.y, 2))
    assert list(make_split(larger, Data(), seed=0).sizes.values()) == [120, 120, 120, 20, 20]
    assert len(make_split(dataset, Data(holdout=0, members=10), seed=0).holdout) == 0


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        (Data(members=150), "200 examples, fewer than 150 members \\+ 100 non_members"),
        (Data(members=2, non_members=199), "fewer than"),
    ],
)
def test_more_than_there_is_is_refused(dataset, sizes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_split(dataset, sizes, seed=0)


def test_too_few_examples_are_refused():
    tiny = checked("tiny", np.eye(5), np.array([0, 1, 0, 1, 0]))
    with pytest.raises(UserError, match="5 examples: too few"):
        make_split(tiny, Data(), seed=0)


def test_members_of_one_class_are_refused(dataset):
    rare = replace(dataset, y=(np.arange(200) == 0).astype(np.int64), class_names=("a", "b"))
    seed = next(seed for seed in range(9) if 0 not in make_split(dataset, Data(members=4), seed).members)
    with pytest.raises(UserError, match="the 4 members are all of one class"):
        make_split(rare, Data(members=4), seed)


# --- what a model file records ---


def test_the_record_makes_the_same_split_again(dataset):
    split = make_split(dataset, SIZES, seed=3)
    again = remake_split(dataset, split.record())
    assert all((getattr(again, role) == getattr(split, role)).all() for role in ROLES)


def test_a_grown_data_set_is_noticed(dataset):
    record = make_split(dataset, SIZES, seed=3).record()
    grown = checked("toy", np.concatenate([dataset.x, dataset.x[:5]]), np.concatenate([dataset.y, dataset.y[:5]]))
    with pytest.raises(UserError, match=r"toy: the split no longer gives the same members"):
        remake_split(grown, record)


def test_another_seed_is_noticed(dataset):
    record = make_split(dataset, SIZES, seed=3).record() | {"seed": 4}
    with pytest.raises(UserError, match="no longer gives the same"):
        remake_split(dataset, record)


# --- known members ---


@pytest.fixture
def known(dataset):
    rows = dataset.x
    return members_beside(checked("in", rows[:80], dataset.y[:80]), checked("out", rows[80:], dataset.y[80:]))


def test_known_members_stay_members_whatever_the_seed(known):
    drawn = set()
    for seed in range(3):
        split = make_split(known, Data(), seed)
        drawn.add(split.non_members.tobytes())
        np.testing.assert_array_equal(split.members, np.arange(80))
        assert min(split.non_members.min(), split.reference.min(), split.holdout.min()) >= 80
        assert (len(split.non_members), len(split.reference)) == (96, 16)
    assert len(drawn) == 3
    remake_split(known, split.record())


def test_known_members_cannot_be_fewer(known):
    with pytest.raises(UserError, match=r"its 80 members are known, so data\.members cannot be 50"):
        make_split(known, Data(members=50), seed=0)


# --- the papers' sizes ---


def test_paper_sizes_on_real_data(real_data):
    sizes = {
        name: make_split(load(name, real_data), Data(), seed=0).record()["sizes"]
        for name in ("fashion_mnist", "cifar10", "location30")
    }
    assert [sizes["fashion_mnist"][role] for role in ROLES] == [15_000, 15_000, 30_000, 5_000, 5_000]
    assert [sizes["cifar10"][role] for role in ROLES] == [15_000, 15_000, 25_000, 2_500, 2_500]
    assert [sizes["location30"][role] for role in ROLES] == [1_000, 1_000, 2_000, 400, 400]


def test_a_part_of_a_papers_data_set_falls_back_to_shares():
    few = checked("fashion_mnist", np.random.default_rng(0).random((100, 4, 4)), np.arange(100) % 10)
    assert len(make_split(few, Data(), seed=0).members) == 30
