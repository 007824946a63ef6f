"""Canaries: who gives the place, what stands there then, and what stays as it was."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edgepriv import project
from edgepriv.data import canaries_in, checked, load, make_split, ordinary, with_canaries
from edgepriv.data.canaries import canary_files
from edgepriv.errors import UserError
from edgepriv.recipe import Data, Recipe

SIZES = {"members": 200, "non_members": 100, "reference": 50, "holdout": 20, "validation": 20}


def planted(dataset, canaries, **sizes):
    """The data with canaries, and the split."""
    asked = Data(name="digits", canaries=canaries, **(SIZES | sizes))
    split = make_split(dataset, asked, seed=3)
    return with_canaries(dataset, split, asked), split


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def bytes_(digits):
    """The same in bytes."""
    return replace(digits, name="bytes", x=np.rint(255 * digits.x).astype(np.uint8))


@pytest.fixture(scope="module")
def rows():
    """A table in which each column takes few values, and the second is the opposite of the first."""
    generator = np.random.default_rng(0)
    first = generator.integers(0, 2, 600)
    x = np.stack([first, 1 - first, generator.integers(0, 5, 600) / 4, generator.random(600)], axis=1)
    return checked("rows", x.astype(np.float32), generator.integers(0, 3, 600))


@pytest.mark.parametrize("kind", ["mislabelled", "rare", "near-duplicate"])
@pytest.mark.parametrize("source", ["digits", "rows"])
def test_half_of_the_canaries_are_members_and_only_their_records_change(source, kind, request):
    dataset = request.getfixturevalue(source)
    changed, split = planted(dataset, f"{kind}:40")
    index = changed.canaries.index
    assert np.isin(index, split.members).sum() == np.isin(index, split.non_members).sum() == 20
    others = np.setdiff1d(np.arange(len(dataset)), index)
    np.testing.assert_array_equal(changed.x[others], dataset.x[others])
    np.testing.assert_array_equal(changed.y[others], dataset.y[others])
    assert changed.x.dtype == dataset.x.dtype
    assert changed.x.min() >= 0
    assert changed.inputs().max() <= 1
    assert set(np.unique(changed.y[index])) <= set(range(dataset.num_classes))
    before, _ = planted(dataset, None)
    assert before is dataset  # which is left as it was


def test_a_mislabelled_record_is_the_same_record_under_another_label(digits):
    changed, _ = planted(digits, "mislabelled:50")
    index = changed.canaries.index
    assert changed.x is digits.x
    assert (changed.y[index] != digits.y[index]).all()
    assert len(np.unique((changed.y[index] - digits.y[index]) % 10)) == 9  # drawn among all others


def test_rare_pictures_are_of_one_colour_each_of_its_own(digits):
    changed, _ = planted(digits, "rare:40")
    pictures = changed.x[changed.canaries.index].reshape(40, -1)
    assert (pictures == pictures[:, :1]).all()
    assert len(np.unique(pictures[:, 0])) == 40


def test_rare_rows_hold_values_that_occur_but_not_together(rows):
    changed, _ = planted(rows, "rare:40")
    x = changed.x[changed.canaries.index]
    for column in range(4):
        assert np.isin(x[:, column], rows.x[:, column]).all()
    assert (x[:, 0] == x[:, 1]).any()


def test_a_near_duplicate_is_an_ordinary_picture_moved_by_one_pixel(digits):
    changed, split = planted(digits, "near-duplicate:20")
    average = ordinary(split, changed)
    originals = digits.x[np.concatenate([average.members, average.non_members])]
    inner = originals[:, :, 1:-1, 1:-1]
    for picture in changed.x[changed.canaries.index]:
        views = (picture[:, top : top + 6, left : left + 6] for top, left in ((0, 1), (2, 1), (1, 0), (1, 2)))
        assert any((inner == view).all(axis=(1, 2, 3)).any() for view in views)


def test_a_near_duplicate_row_differs_from_its_original_in_one_cell(rows):
    changed, split = planted(rows, "near-duplicate:20")
    average = ordinary(split, changed)
    originals = rows.x[np.concatenate([average.members, average.non_members])]
    for row in changed.x[changed.canaries.index]:
        assert (originals != row).sum(axis=1).min() == 1


def test_split_and_digest_are_those_of_the_data_as_they_are_read(digits):
    changed, split = planted(digits, "mislabelled:40")
    asked = Data(name="digits")
    plain, with_them = (project.data_record(data, split, asked) for data in (digits, changed))
    assert with_them.pop("canaries")["asked"] == "mislabelled:40"
    assert with_them == plain
    assert changed.sha256 != digits.sha256  # by which reference models are told apart


def test_the_record_plants_the_same_canaries_again(digits, tmp_path):
    recipe = Recipe(data={"name": "digits", "canaries": "near-duplicate:40"} | SIZES, seed=3)
    dataset, split = project.split_of(recipe, tmp_path)
    record = json.loads(json.dumps(project.data_record(dataset, split, recipe.data)))
    again, _ = project.recorded_data(record, tmp_path, "model.pt")
    assert again.sha256 == dataset.sha256
    record["canaries"]["sha256"] = "0" * 64
    with pytest.raises(UserError, match="no longer those"):
        project.recorded_data(record, tmp_path, "model.pt")


def test_the_record_does_not_say_which_records_are_canaries_or_members(digits):
    changed, split = planted(digits, "mislabelled:40")
    record = project.data_record(changed, split, Data(name="digits"))
    assert not any(isinstance(value, list) and len(value) > 10 for value in record["canaries"].values())
    assert record["canaries"].keys() == {"asked", "kind", "members", "non_members", "sha256"}


def test_another_seed_draws_other_canaries(digits):
    asked = Data(name="digits", canaries="mislabelled:40", **SIZES)
    one, other = (with_canaries(digits, make_split(digits, asked, seed), asked).canaries.index for seed in (0, 1))
    assert len(np.intersect1d(one, other)) < 40


def test_the_average_leaves_canaries_out(digits):
    changed, split = planted(digits, "mislabelled:40")
    average = ordinary(split, changed)
    assert (len(average.members), len(average.non_members)) == (180, 80)
    assert canaries_in(split, changed).sum() == 40
    assert ordinary(split, digits) is split


def test_no_two_canaries_are_of_one_person(rows):
    dataset = replace(rows, groups=np.arange(600) // 4)
    changed, split = planted(dataset, "mislabelled:20")
    persons = dataset.groups[changed.canaries.index]
    assert len(np.unique(persons)) == 20
    with pytest.raises(UserError, match=r"more than half of the .* groups among"):
        planted(dataset, "mislabelled:48", members=200, non_members=80)
    assert len(split.members) == 200


# --- the user's own ---


def test_records_of_a_file_are_drawn_in_or_out(digits, tmp_path):
    own = np.random.default_rng(1).random((10, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=own, y=np.arange(10))
    changed, split = planted(digits, str(tmp_path / "own.npz"))
    index = changed.canaries.index
    assert len(index) == 10
    assert sorted(changed.y[index]) == list(range(10))
    for place in index:
        np.testing.assert_array_equal(changed.x[place, 0], own[changed.y[place]])
    assert np.isin(index, split.members).sum() == 5
    assert canary_files(changed.canaries.asked) == [tmp_path / "own.npz"]


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.zeros((10, 9, 9), np.uint8), np.arange(10), "shape"),
        (np.zeros((9, 8, 8), np.uint8), np.arange(9), "even number"),
        (np.zeros((10, 8, 8), np.uint8), np.arange(10) + 5, "label"),
        (np.zeros((10, 8, 8), np.uint8), np.zeros(10, int), "two classes"),
        (np.full((10, 8, 8), 0.1234), np.arange(10), "finer than the bytes"),
    ],
)
def test_a_file_that_does_not_fit_the_data_is_refused(bytes_, tmp_path, x, y, said):
    np.savez(tmp_path / "own.npz", x=x, y=y)
    with pytest.raises(UserError, match=said):
        planted(bytes_, str(tmp_path / "own.npz"))


def test_pictures_in_unit_range_are_taken_for_the_bytes_that_they_are(bytes_, tmp_path):
    np.savez(tmp_path / "own.npz", x=np.full((4, 8, 8), 51 / 255, np.float32), y=np.arange(4))
    changed, _ = planted(bytes_, str(tmp_path / "own.npz"))
    assert (changed.x[changed.canaries.index] == 51).all()


def test_a_file_that_is_not_there_is_refused(digits, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        planted(digits, str(tmp_path / "none.npz"))


# --- what cannot be ---


@pytest.mark.parametrize("asked", ["mislabelled:0", "mislabelled:7", "rare:-4", "rare:2", "near-duplicate:x", "rare:"])
def test_a_number_that_cannot_be_halved_is_refused(asked):
    with pytest.raises(UserError, match="even number of 4 or more"):
        Recipe().with_changes(data={"canaries": asked})


def test_an_unknown_kind_is_refused_with_the_nearest_that_is_known():
    with pytest.raises(UserError, match=r"did you mean 'mislabelled'\?"):
        Recipe().with_changes(data={"canaries": "mislabeled:50"})
    with pytest.raises(UserError, match="or a file"):
        Recipe().with_changes(data={"canaries": "notes.docx"})


def test_more_canaries_than_a_quarter_of_the_members_are_refused(digits):
    with pytest.raises(UserError, match="more than a quarter of the 200 members"):
        planted(digits, "mislabelled:52")
    with pytest.raises(UserError, match="more than half of the 40 non-members"):
        planted(digits, "mislabelled:50", non_members=40)


def test_grey_pictures_of_one_colour_come_in_few_shades(bytes_):
    with pytest.raises(UserError, match="256 shades"):
        planted(bytes_, "rare:260", members=1200, non_members=300, reference=50)


def test_canaries_are_part_of_the_training_hash_and_their_absence_is_not():
    plain = Recipe(data={"name": "digits"})
    assert plain.training_hash() == Recipe(data={"name": "digits", "canaries": None}).training_hash()
    hashes = {plain.with_changes(data={"canaries": each}).training_hash() for each in ("rare:4", "rare:6")}
    assert len(hashes | {plain.training_hash()}) == 3


def test_a_mislabelled_record_takes_a_label_under_which_it_is_not_in_the_data():
    """Six different rows, each often there under two of three labels: only the third makes a canary of its own."""
    generator = np.random.default_rng(0)
    kinds, y = generator.integers(0, 6, 600), generator.integers(0, 2, 600)
    x = np.stack([kinds / 5, np.arange(600) / 600], axis=1)
    x[50:, 1] = 0.5  # only the first 50 are like no other
    y[:3] = 2
    dataset = checked("rows", x.astype(np.float32), y)
    changed, _ = planted(dataset, "mislabelled:4")
    own = {(tuple(row), int(label)) for row, label in zip(changed.x, changed.y, strict=True)}
    others = np.setdiff1d(np.arange(600), changed.canaries.index)
    there = {(tuple(changed.x[place]), int(changed.y[place])) for place in others}
    assert len(own - there) == 4


@pytest.mark.parametrize("kind", ["mislabelled", "rare", "near-duplicate"])
def test_data_without_room_for_records_of_their_own_are_refused(kind):
    """Two columns of yes and no under two labels: every row that can be made is there already."""
    cells = np.array([[a, b, label] for a in (0, 1) for b in (0, 1) for label in (0, 1)] * 75)
    dataset = checked("few", cells[:, :2].astype(np.float32), cells[:, 2])
    with pytest.raises(
        UserError, match=r"would equal another record|have a label left under which they are not in the data"
    ):
        planted(dataset, f"{kind}:20")


def test_records_of_a_file_that_are_in_the_data_or_twice_in_it_are_refused(digits, tmp_path):
    x = np.concatenate([digits.x[:3], np.full((2, *digits.input_shape), 0.25, np.float32), 1 - digits.x[:1]])
    y = np.concatenate([digits.y[:2], [(digits.y[2] + 1) % 10], [4, 4, 5]])
    np.savez(tmp_path / "own.npz", x=x, y=y)
    with pytest.raises(UserError, match=r"of 6 canaries 2 are in digits too and 1 stand there twice, label included"):
        planted(digits, str(tmp_path / "own.npz"))
