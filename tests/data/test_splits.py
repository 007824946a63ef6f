"""Who is a member: disjoint, repeatable, recorded, and checked when it is made again."""

from dataclasses import replace

import numpy as np
import pytest

from edgepriv.data import Dataset, checked, load, make_split, members_beside, remake_split
from edgepriv.data.sizes import ROLES
from edgepriv.data.split_notes import notes_on_split
from edgepriv.data.splits import trained_elsewhere
from edgepriv.errors import UserError
from edgepriv.project import recorded_data
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


# --- small sets ---


@pytest.mark.parametrize(
    ("total", "sizes"),
    [
        (1000, [300, 300, 300, 50, 50]),
        (300, [90, 100, 80, 15, 15]),
        (200, [60, 100, 20, 10, 10]),
        (100, [30, 50, 10, 5, 5]),
    ],
)
def test_small_sets_keep_non_members_at_the_cost_of_the_pool(total, sizes):
    few = checked("few", np.random.default_rng(0).random((total, 2)), np.arange(total) % 2)
    assert list(make_split(few, Data(), seed=0).sizes.values()) == sizes


@pytest.mark.parametrize(
    ("non_members", "sizes"),
    [(1600, [640, 640, 160, 160]), (250, [100, 100, 25, 25]), (150, [100, 34, 8, 8]), (100, [80, 14, 3, 3])],
)
def test_few_known_non_members_stay_non_members(non_members, sizes):
    rows = np.random.default_rng(0).random((20 + non_members, 2))
    known = members_beside(
        checked("in", rows[:20], np.arange(20) % 2), checked("out", rows[20:], np.arange(non_members) % 2)
    )
    assert list(make_split(known, Data(), seed=0).sizes.values()) == [20, *sizes]


def test_what_few_non_members_cannot_tell_is_said(dataset):
    said = notes_on_split(dataset, make_split(dataset, Data(non_members=50), seed=0))
    assert said == [
        "members 60, non-members 50, attacker's pool 20, holdout 10, validation 10",
        "the smallest false-positive rate that 50 non-members resolve is 1/50: too few for 1%",
    ]


# --- parts and groups of a file ---


def two_parts(inside):
    return np.where(inside, "train", "test")


@pytest.fixture
def in_parts(dataset) -> Dataset:
    return replace(dataset, parts=two_parts(np.arange(200) < 120))


def test_members_are_of_the_training_part_and_non_members_are_not(in_parts):
    split = make_split(in_parts, Data(), seed=1)
    assert list(split.sizes.values()) == [60, 64, 60, 8, 8]
    assert max(split.members.max(), split.reference.max()) < 120
    assert min(split.non_members.min(), split.holdout.min(), split.validation.min()) >= 120
    assert "members and the pool are of the file's training part (120 examples)" in notes_on_split(in_parts, split)[1]
    again = remake_split(in_parts, split.record())
    np.testing.assert_array_equal(again.members, split.members)


def test_the_whole_training_part_may_be_members_and_then_the_pool_is_of_the_other(in_parts):
    for sizes in (Data(members=120), trained_elsewhere(in_parts, Data())):
        split = make_split(in_parts, sizes, seed=1)
        np.testing.assert_array_equal(split.members, np.arange(120))
        assert min(split.reference.min(), split.non_members.min()) >= 120
        remake_split(in_parts, split.record())


def test_more_members_than_the_training_part_has_are_refused(in_parts):
    with pytest.raises(UserError, match="the training part of toy has 120 examples, fewer than 130 members"):
        make_split(in_parts, Data(members=130), seed=0)


def test_a_small_part_is_kept_all_the_same(dataset):
    tiny = replace(dataset, parts=two_parts(np.arange(200) < 190))
    split = make_split(tiny, Data(), seed=0)
    assert max(split.members.max(), split.reference.max()) < 190
    assert min(split.non_members.min(), split.holdout.min(), split.validation.min()) >= 190


def test_a_validation_part_is_what_chooses_checkpoints_and_a_test_part_what_nobody_has_seen(dataset):
    three = replace(dataset, parts=np.repeat(["train", "val", "test"], [100, 40, 60]))
    for sizes in (Data(), trained_elsewhere(three, Data())):
        split = make_split(three, sizes, seed=2)
        assert split.members.max() < 100
        assert all(100 <= part.min() <= part.max() < 140 for part in (split.validation, split.holdout))
        assert split.non_members.min() >= 140
        assert remake_split(three, split.record()).record() == split.record()
    said = notes_on_split(three, make_split(three, Data(), seed=2))[1]
    assert "holdout and validation of its validation part (40), non-members of its test part" in said


def test_a_split_recorded_before_parts_were_kept_is_remade(dataset, in_parts):
    earlier = make_split(dataset, SIZES, seed=3)
    record = {name: value for name, value in earlier.record().items() if name != "version"}
    np.testing.assert_array_equal(remake_split(in_parts, record).members, earlier.members)


@pytest.mark.parametrize("parts", [False, True])
def test_no_group_plays_two_roles(dataset, parts):
    groups = np.random.default_rng(0).integers(0, 60, 200)
    grouped = replace(dataset, groups=groups, parts=two_parts(groups < 35) if parts else None)
    for seed in range(5):
        split = make_split(grouped, Data(members=50, non_members=40, holdout=8, validation=8), seed)
        roles = [set(groups[getattr(split, role)].tolist()) for role in ROLES]
        assert sum(map(len, roles)) == len(set().union(*roles))
        assert abs(len(split.members) - 50) < np.bincount(groups).max()
        assert len(np.unique(np.concatenate([getattr(split, role) for role in ROLES]))) == sum(split.sizes.values())
        again = remake_split(grouped, split.record())
        assert again.record() == split.record()
    assert "plays one role" in " ".join(notes_on_split(grouped, split))


def test_persons_in_the_training_part_and_in_another_are_counted_and_refused(dataset):
    groups = np.arange(200) // 4
    crossing = replace(dataset, groups=groups, parts=two_parts(np.arange(200) < 122))  # group 30 begins at 120
    with pytest.raises(UserError, match=r"1 of 50 groups \(4 records\) stand both in the training part of toy and in"):
        make_split(crossing, Data(), seed=0)


def test_members_and_non_members_never_share_a_person(dataset):
    inside = replace(checked("in", dataset.x[:80], dataset.y[:80]), groups=np.arange(80) // 8)
    outside = replace(checked("out", dataset.x[80:], dataset.y[80:]), groups=np.arange(120) // 8 + 8)
    with pytest.raises(UserError, match=r"2 of 23 groups \(32 records\) stand both in in and in out"):
        members_beside(inside, outside)


def test_how_many_persons_play_which_role_is_said(dataset):
    grouped = replace(dataset, groups=np.arange(200) // 5)
    split = make_split(grouped, Data(members=50, non_members=40, reference=40, holdout=10, validation=10), seed=0)
    said = (
        "groups: members 10, non-members 8, attacker's pool 8, holdout 2, validation 2; each of the 30 plays one role"
    )
    assert said in notes_on_split(grouped, split)


@pytest.mark.parametrize(
    ("size", "asked", "sizes"),
    [
        (40, {}, [40, 40, 40, 40, 40]),
        (20, {"members": 90, "non_members": 90, "reference": 0, "holdout": 10, "validation": 10}, [80, 80, 0, 20, 20]),
        (5, {"members": 52, "non_members": 40, "reference": 60, "holdout": 10, "validation": 20}, [55, 40, 60, 10, 20]),
    ],
)
def test_large_groups_leave_one_for_every_role(dataset, size, asked, sizes):
    grouped = replace(dataset, groups=np.arange(200) // size)
    split = make_split(grouped, Data(**asked), seed=0)
    assert list(split.sizes.values()) == sizes
    assert remake_split(grouped, split.record()).record() == split.record()


def test_roles_that_are_asked_for_and_get_no_group_are_refused(dataset):
    few = replace(dataset, groups=np.arange(200) // 67)
    with pytest.raises(UserError, match="its 3 groups are too few for holdout and validation: each role takes whole"):
        make_split(few, Data(members=50, non_members=40, reference=10, holdout=10, validation=10), seed=0)
    assert make_split(few, Data(), seed=0).sizes["validation"] == 0  # nobody asked: it is said
    with pytest.raises(UserError, match="200 examples of 1 groups: too few"):
        make_split(replace(dataset, groups=np.zeros(200, np.int64)), Data(), seed=0)


def test_a_split_recorded_before_groups_had_these_names_is_remade(dataset):
    grouped = replace(dataset, groups=np.arange(200) // 40, parts=two_parts(np.arange(200) < 120))
    for seen in (dataset, replace(dataset, parts=grouped.parts), replace(dataset, groups=grouped.groups)):
        kept = make_split(seen, Data(members=50, non_members=40, reference=0, holdout=0, validation=0), seed=3)
        record = kept.record() | {"version": 2}
        np.testing.assert_array_equal(remake_split(grouped, record).members, kept.members)


def test_a_file_is_read_by_the_names_that_a_split_was_recorded_with(tmp_path):
    generator = np.random.default_rng(0)
    x, y, arms = generator.random((120, 3)).astype(np.float32), np.arange(120) % 2, np.arange(120) // 10
    np.savez(tmp_path / "a.npz", x=x, y=y, group=arms, patient_id=np.arange(120) // 4)
    then = replace(checked("a", x, y), groups=arms)
    kept = make_split(then, Data(members=40, non_members=40, reference=0, holdout=0, validation=0), seed=1)
    record = {"name": f"npz:{tmp_path / 'a.npz'}", "sha256": then.sha256, "split": kept.record() | {"version": 2}}
    dataset, split = recorded_data(record, None, "a.pt")
    np.testing.assert_array_equal(dataset.groups, arms)
    np.testing.assert_array_equal(split.members, kept.members)
    with pytest.raises(UserError, match="how its groups and parts are read"):
        recorded_data(record | {"split": kept.record()}, None, "a.pt")
