"""Labels as people have them: what is a class, what is missing, what is several labels at once."""

import numpy as np
import pytest

from edgepriv.data import checked, with_classes
from edgepriv.data.labels import coded
from edgepriv.errors import UserError


def refused(labels, class_names=None):
    with pytest.raises(UserError) as error:
        coded("file", np.asarray(labels), class_names)
    assert str(error.value).startswith("file: ")
    return str(error.value)


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        ([20, 10, 30, 10], ("10", "20", "30"), [1, 0, 2, 0]),
        ([10.0, 9.0, 10.0], ("9", "10"), [1, 0, 1]),
        ([0, 1, 1, 70_000], ("0", "1", "70000"), [0, 1, 1, 2]),
        ([-1, 1, 1, -1], ("-1", "1"), [0, 1, 1, 0]),
        ([True, False, True], ("0", "1"), [1, 0, 1]),
        (["dog", " cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        ([b"dog", b"cat"], ("cat", "dog"), [1, 0]),
        (["0", "0.0", "1", "01"], ("0", "1"), [0, 0, 1, 1]),
        (["1_0", "10"], ("10", "1_0"), [1, 0]),
        (["10", "9"], ("9", "10"), [1, 0]),
        (["0.5", "1", "0"], ("0", "0.5", "1"), [1, 2, 0]),
        ([[3], [5]], ("3", "5"), [0, 1]),
    ],
)
def test_the_different_labels_are_the_classes(labels, names, codes):
    found = coded("file", np.asarray(labels))
    assert found.names == names
    assert found.y.dtype == np.int64
    assert found.y.tolist() == codes


def test_with_class_names_numbers_are_positions_and_names_are_found():
    assert coded("file", np.array([2, 0]), ("a", "b", "c")).y.tolist() == [2, 0]
    assert coded("file", np.array(["c", "a"]), ("a", "b", "c")).y.tolist() == [2, 0]
    assert "label 'z' is outside the classes (a, b)" in refused(["a", "z"], ("a", "b"))
    assert "1 labels are outside the classes (first: 2; classes: 0 to 1)" in refused([0, 2], ("a", "b"))


def test_one_hot_rows_are_classes_the_ones_without_examples_too():
    found = coded("file", np.eye(4, dtype=np.uint8)[[0, 2, 0]])
    assert (found.y.tolist(), found.names) == ([0, 2, 0], ("0", "1", "2", "3"))
    assert found.notes == ("labels are one-hot rows of 4, read as 4 classes",)
    assert "one-hot rows of 4, but there are 2 class names" in refused(np.eye(4), ("a", "b"))


def test_several_labels_at_once_are_never_reduced_to_one():
    findings = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]], np.uint8)
    said = refused(findings)
    assert "3 findings for each example (1 of 3 rows have several, 1 none)" in said
    assert "keep one finding" in said
    assert "probabilities for each example (soft labels)" in refused(np.full((5, 4), 0.25))
    assert "not one-hot rows" in refused([[3, 5], [1, 2]])
    assert "labels are NaN" in refused([[1, np.nan], [0, 1]])


@pytest.mark.parametrize("missing", ["", "NaN", "NA", "?", " "])
def test_a_label_that_is_not_there_is_no_class(missing):
    assert "1 labels are missing" in refused(["a", missing, "b"])
    assert coded("file", np.array(["none", "mild"])).names == ("mild", "none")


def test_numbers_that_are_no_classes():
    assert "row 1 has 0.37" in refused([1.0, 0.37])
    assert "1 labels are outside the classes (first: -1" in refused([0, -1, 1])
    rows = np.arange(200)
    assert "200 different values in 200 examples" in refused(rows)
    assert "measurements" in refused([str(value / 7) for value in rows // 4])


# --- under a model's names ---


def under(labels, class_names):
    return with_classes(checked("file", np.zeros((len(labels), 2)), np.asarray(labels)), class_names)


@pytest.mark.parametrize(
    ("labels", "class_names", "codes"),
    [
        ([0, 1, 3], ("0", "1", "2", "3"), [0, 1, 3]),  # a class without examples moves no other
        ([1, 2, 3], ("0", "1", "2", "3"), [1, 2, 3]),
        ([1, 2, 2], ("1", "2", "3"), [0, 1, 1]),
        (["dog", "cat"], ("bird", "cat", "dog"), [2, 1]),
        ([10, 30], ("10", "20", "30"), [0, 2]),
    ],
)
def test_labels_are_found_among_a_models_classes_by_name(labels, class_names, codes):
    found = under(labels, class_names)
    assert found.y.tolist() == codes
    assert found.class_names == class_names
    assert not found.notes


def test_else_by_position_and_else_in_order_and_that_is_said():
    by_position = under([2, 0, 2], ("cat", "dog", "bird"))
    assert by_position.y.tolist() == [2, 0, 2]
    assert by_position.notes == ("labels 0, 2 are read as positions among the classes cat, dog, bird",)
    in_order = under([30, 10, 20], ("0", "1", "2"))
    assert in_order.y.tolist() == [2, 0, 1]
    assert in_order.notes == ("labels 10, 20, 30 are taken in this order for the model's outputs 0 to 2",)


@pytest.mark.parametrize(
    ("labels", "class_names"), [([10, 20], ("0", "1", "2")), ([0, 2], ("cat", "dog")), (["cat", "cow"], ("cat", "dog"))]
)
def test_labels_that_a_model_does_not_have(labels, class_names):
    with pytest.raises(UserError, match=r"file: \d labels are outside the classes"):
        under(labels, class_names)
