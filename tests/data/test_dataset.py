"""Dataset: one layout for every input, one sentence for everything wrong."""

import numpy as np
import pytest

from edgepriv.data import as_inputs, checked, members_beside
from edgepriv.errors import UserError

LABELS = np.array([0, 1, 2, 0])


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((4, 6, 7), (1, 6, 7)),
        ((4, 6, 7, 1), (1, 6, 7)),
        ((4, 6, 7, 3), (3, 6, 7)),
        ((4, 6, 7, 4), (4, 6, 7)),
        ((4, 1, 6, 7), (1, 6, 7)),
        ((4, 3, 6, 7), (3, 6, 7)),
        ((4, 9), (9,)),
    ],
)
def test_every_layout_becomes_channels_first(given, expected):
    assert checked("set", pixels(*given) / 255, LABELS).input_shape == expected


def test_channels_last_keeps_every_pixel_in_its_place():
    images = pixels(4, 6, 7, 3)
    found = checked("set", images, LABELS)
    assert found.x.dtype == np.uint8
    assert found.x[1, 2, 3, 5] == images[1, 3, 5, 2]


def test_bytes_become_fractions_of_255_and_floats_stay():
    as_bytes, as_floats = checked("a", pixels(4, 6, 6), LABELS), checked("b", pixels(4, 6, 6) / 255, LABELS)
    assert as_bytes.inputs().dtype == np.float32
    np.testing.assert_allclose(as_bytes.inputs(), as_floats.inputs(), atol=1e-7)
    assert as_inputs(np.array([0, 255], np.uint8)).tolist() == [0.0, 1.0]
    assert as_bytes.inputs(np.array([2])).shape == (1, 1, 6, 6)


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.uint8, np.float16, np.float64])
def test_tables_of_any_number_type_become_float32(dtype):
    found = checked("table", np.array([[0, 1], [1, 1], [0, 0], [1, 0]], dtype), LABELS)
    assert found.x.dtype == np.float32
    assert found.x[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("labels", [LABELS.astype(np.uint8), LABELS.astype(float), LABELS[:, None]])
def test_labels_of_any_whole_number_type_become_int64(labels):
    found = checked("set", np.zeros((4, 2)), labels)
    assert found.y.dtype == np.int64
    assert found.y.tolist() == LABELS.tolist()
    assert found.class_names == ("0", "1", "2")


def with_nan():
    table = np.zeros((4, 2))
    table[2, 1] = np.nan
    return table


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (np.zeros((0, 2)), [], "no examples"),
        (np.zeros((4, 0)), LABELS, "no examples"),
        (np.array(1.0), np.array(1), "not one number"),
        (np.zeros((3, 2)), LABELS, "3 examples but 4 labels"),
        (with_nan(), LABELS, r"1 examples hold NaN or infinity \(first: row 2\)"),
        (with_nan() + np.inf, LABELS, "4 examples hold NaN or infinity"),
        (np.full((4, 2), 1.5), LABELS, r"lie in \[1.5, 1.5\].*--input-range LO:HI.*scale them first"),
        (np.full((4, 2), -0.1), LABELS, r"must be in \[0, 1\]"),
        (np.full((4, 6, 6), 255.0), LABELS, "images may also be uint8"),
        (np.full((4, 2), "red"), LABELS, "examples must be numbers"),
        (np.full((4, 2), 1j), LABELS, "examples must be numbers"),
        (np.zeros(4), LABELS, r"shape \[\]; expected an image or a row"),
        (np.zeros((4, 5, 6, 7)), LABELS, "expected 1, 3 or 4 channels"),
        (np.zeros((4, 1, 5, 6, 7)), LABELS, "expected an image or a row"),
        (np.zeros((4, 2)), [0, 1, 1.5, 0], "labels must be whole numbers"),
        (np.zeros((4, 2)), [0, 1, np.nan, 0], r"1 labels are NaN or infinite \(first: row 2\)"),
        (np.zeros((4, 2)), np.array([b"a", b"b"] * 2).view("V1"), "labels must be whole numbers or names"),
        (np.zeros((4, 2)), np.zeros((4, 2, 2)), r"labels have shape \[4, 2, 2\]"),
        (np.zeros((4, 2)), [0, 1, -1, 0], r"1 labels are outside the classes \(first: -1"),
        (np.zeros((4, 2)), [1, 1, 1, 1], "all 4 examples have label 1"),
        (np.zeros((4, 2)), [0, 0, 0, 0], "at least two classes"),
    ],
)
def test_bad_arrays_are_one_sentence_that_names_the_set(x, y, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        checked("my set", x, np.asarray(y))
    assert str(error.value).startswith("my set: ")


def test_labels_beyond_the_named_classes_are_counted():
    with pytest.raises(UserError, match=r"2 labels are outside the classes \(first: 2; classes: 0 to 1\)"):
        checked("set", np.zeros((4, 2)), np.array([0, 2, 1, 3]), ("a", "b"))


def test_the_digest_changes_with_any_example_label_or_type():
    x = pixels(4, 6, 6)
    base = checked("a", x, LABELS).sha256
    assert checked("b", x.copy(), LABELS).sha256 == base
    changed = x.copy()
    changed[3, 5, 5] ^= 1
    others = [checked("a", changed, LABELS), checked("a", x, LABELS[::-1]), checked("a", x / 255, LABELS)]
    assert len({base, *(other.sha256 for other in others)}) == 4


# --- members from elsewhere ---


def part(name, rows, labels=LABELS):
    return checked(name, np.asarray(rows, float), labels)


def test_known_members_stand_first():
    members, others = part("in", np.eye(4)), part("out", 1 - np.eye(4))
    both = members_beside(members, others)
    assert both.known_members == 4
    np.testing.assert_array_equal(both.x, np.concatenate([members.x, others.x]))
    assert "in" in both.name
    assert "out" in both.name


def test_bytes_beside_floats_are_compared_as_inputs():
    members, others = checked("in", pixels(4, 6, 6), LABELS), checked("out", 1 - pixels(4, 6, 6) / 255, LABELS)
    assert members_beside(members, others).inputs().max() <= 1


def test_shared_examples_are_counted():
    rows = np.eye(4)
    others = np.concatenate([rows[:2], 1 - rows[2:]])
    with pytest.raises(UserError, match=r"2 of the 4 non-members \(out\) stand among the members \(in\)"):
        members_beside(part("in", rows), part("out", others))


def test_rows_that_two_members_share_as_often_are_records_of_their_own():
    """Tables of a few columns have equal rows; a copied file has more of them than chance makes."""
    few = np.random.default_rng(0).integers(0, 6, (200, 2)) / 6
    few[::2, 0] += np.arange(100) / 1e4  # rows that nobody else has
    labels = np.arange(100) % 2
    both = members_beside(part("in", few[:100], labels), part("out", few[100:], labels))
    assert any("non-members have the inputs of a member, about as often as two members" in note for note in both.notes)
    with pytest.raises(UserError, match=r"100 of the 100 non-members .* stand among the members"):
        members_beside(part("in", few[:100], labels), part("out", few[:100], labels))


def test_members_and_non_members_of_different_shape_are_refused():
    with pytest.raises(UserError, match=r"members \(in\) have shape \[4\], non-members \(out\) \[5\]"):
        members_beside(part("in", np.eye(4)), part("out", np.eye(5)[:4]))
