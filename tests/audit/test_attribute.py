"""Attribute inference: a column of a table is guessed from the answers, of members and of others."""

import numpy as np
import pytest

from edgepriv.audit.attribute import attribute_part
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError

N = 400
NOBODY = np.empty(0, np.int64)


def table(seed=0, values=3):
    """Rows of two columns, the first of which takes a few values that the label does not depend on."""
    draws = np.random.default_rng(seed)
    x = np.stack([draws.integers(0, values, 2 * N) / values, draws.random(2 * N)], axis=1).astype(np.float32)
    return Dataset("rows", x, draws.integers(0, 2, 2 * N), ("no", "yes"))


def part(dataset, predict, name="0", groups=None):
    split = Split(0, np.arange(N), np.arange(N, 2 * N), NOBODY, NOBODY, NOBODY)
    asked = np.arange(2 * N)
    return attribute_part(predict, dataset, split, asked, asked < N, name)


def remembers(dataset):
    """A model that is sure of the label of a row that it was trained on, and only of the whole row."""
    known = {tuple(row): label for row, label in zip(dataset.x[:N], dataset.y[:N], strict=True)}

    def predict(x):
        labels = [known.get(tuple(row)) for row in x]
        return np.array([[0.5, 0.5] if label is None else np.eye(2)[label] for label in labels])

    return predict


def test_what_is_remembered_of_members_alone_is_a_leak():
    dataset = table()
    screened = part(dataset, remembers(dataset))
    assert screened["status"] == "executed"
    for rule in screened["rules"].values():
        assert rule["members"]["value"] == 1.0
        assert rule["non_members"]["value"] < 0.5
        assert rule["difference"]["ci"][0] > 0.5


def test_a_model_that_ignores_the_column_tells_nothing():
    screened = part(table(), lambda x: np.full((len(x), 2), 0.5))
    low, high = screened["rules"]["marginal"]["difference"]["ci"]
    assert low < 0 < high
    assert screened["rules"]["marginal"] == screened["prior"]  # nothing but how common each value is


def test_hard_answers_that_tell_nothing_leave_the_most_common_value():
    dataset = table(values=3)
    rare_first = dataset.x.copy()
    rare_first[:, 0] = np.where(np.arange(2 * N) % 10 < 2, 0, np.where(np.arange(2 * N) % 10 < 4, 1, 2)) / 3
    dataset = Dataset("rows", rare_first, dataset.y, dataset.class_names)
    for answer in (lambda x: np.tile([1.0, 0.0], (len(x), 1)), lambda x: np.tile([0.0, 1.0], (len(x), 1))):
        screened = part(dataset, answer)
        assert screened["rules"]["marginal"] == screened["rules"]["csmia"] == screened["prior"]


def test_a_correlation_that_holds_of_everybody_is_no_leak_of_members():
    dataset = table(values=2)
    dataset = Dataset("rows", dataset.x, (dataset.x[:, 0] > 0).astype(np.int64), dataset.class_names)
    screened = part(dataset, lambda x: np.stack([x[:, 0] == 0, x[:, 0] > 0], axis=1).astype(float))
    marginal = screened["rules"]["marginal"]
    assert marginal["non_members"]["value"] == marginal["members"]["value"] == 1.0
    assert marginal["difference"]["value"] == 0
    assert screened["prior"]["members"]["value"] < 0.7


def test_of_one_person_s_records_the_interval_is_wider():
    person = np.arange(2 * N) // 8
    dataset = table()
    dataset = Dataset(
        "rows", dataset.x[person], dataset.y[person], dataset.class_names
    )  # all of a person's rows are alike
    persons = Dataset("rows", dataset.x, dataset.y, dataset.class_names, groups=person)
    one, other = (part(each, remembers(each))["rules"]["csmia"]["non_members"]["ci"] for each in (dataset, persons))
    assert other[1] - other[0] > one[1] - one[0]


def test_why_a_screen_is_not_run_is_said():
    dataset = table()
    predict = remembers(dataset)
    assert part(dataset, predict, None)["status"] == "not run"
    assert part(dataset, predict, "1") == {
        "status": "not run",
        "reason": "column 1 has 400 different values, and each is tried: 2 to 20 can be",
    }
    images = Dataset("images", np.zeros((2 * N, 1, 2, 2), np.float32), dataset.y, dataset.class_names)
    assert part(images, predict, None)["status"] == "not applicable"
    for wrong in ("2", "age"):
        with pytest.raises(UserError, match="give the place of one, 0 to 1"):
            part(dataset, predict, wrong)
    with pytest.raises(UserError, match="these examples are none"):
        part(images, predict, "0")
