import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from edgepriv.audit.answers import Outputs
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.exposure import exposure
from edgepriv.audit.most_exposed import MOST_EXPOSED, Again
from edgepriv.audit.stability import with_half_of_the_models
from edgepriv.audit.trained_answers import References

N = 600
LABELS = np.arange(N) % 3
MEMBER = np.random.default_rng(0).permutation(N) < 300


def row(name, auc, threat_model="adaptive", p_adjusted=0.01):
    return {"name": name, "auc": auc, "threat_model": threat_model, "direction": "as stated", "p_adjusted": p_adjusted}


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(1)
    return {
        "adaptive/weak": rng.normal(size=N),
        "adaptive/strong": rng.normal(size=N) + MEMBER * np.array([0.0, 1.0, 3.0])[LABELS],
        "adaptive/lucky": rng.normal(size=N),
        "adaptive/on-a-part": rng.normal(size=50),
        "oblivious/strongest": rng.normal(size=N) + 5 * MEMBER,
    }


@pytest.fixture(scope="module")
def found(scores):
    attacks = [
        row("weak", 0.5),
        row("strong", 0.8),
        row("lucky", 0.85, p_adjusted=0.06),
        row("on-a-part", 0.9),
        row("strongest", 0.99, "oblivious"),
    ]
    return exposure(
        attacks,
        scores,
        MEMBER,
        labels=LABELS,
        index=np.arange(N) + 1000,
        class_names=("cat", "dog", "eel", "fox"),
        threat_model="adaptive",
    )


def test_it_is_the_strongest_of_the_headline_on_all_candidates_and_says_that_it_was_picked(found):
    json.dumps(found, allow_nan=False)
    for table in found.values():
        assert set(table) - {"stability"} == {"attack", "threat_model", "direction", "note", "rows"}
        assert (table["attack"], table["threat_model"]) == ("strong", "adaptive")
        assert "the largest AUC of the 2 attacks on all candidates, out of 3, that are beyond guessing" in table["note"]
        assert "corrected for the 5 that were tried" in table["note"]


def test_every_class_that_occurs_has_its_own_area(found, scores):
    rows = found["per_class"]["rows"]
    assert [row["class"] for row in rows] == ["cat", "dog", "eel"]
    for label, row in enumerate(rows):
        chosen = label == LABELS
        assert row["members"] == (MEMBER & chosen).sum()
        assert row["non_members"] == (~MEMBER & chosen).sum()
        assert row["auc"] == pytest.approx(roc_auc_score(MEMBER[chosen], scores["adaptive/strong"][chosen]))
        assert row["auc_ci"][0] < row["auc"] < row["auc_ci"][1]
    assert rows[0]["auc"] < rows[1]["auc"] < rows[2]["auc"]


def test_a_rate_that_a_class_cannot_resolve_is_none_with_the_reason(found):
    for row in found["per_class"]["rows"]:
        if row["non_members"] < 100:
            assert row["tpr_at_0.01"] is None
            assert row["note"] == f"not resolvable with {row['non_members']} non-members"
        else:
            assert 0 <= row["tpr_at_0.01"] <= 1
            assert "note" not in row
    assert {row["non_members"] < 100 for row in found["per_class"]["rows"]} == {True, False}


def test_the_most_exposed_are_members_by_falling_score_with_the_rate_that_catches_them(found, scores):
    rows, values = found["most_exposed"]["rows"], scores["adaptive/strong"]
    assert [row["rank"] for row in rows] == list(range(1, MOST_EXPOSED + 1))
    assert [row["score"] for row in rows] == sorted(values[MEMBER], reverse=True)[:MOST_EXPOSED]
    for row in rows:
        candidate = row["index"] - 1000
        assert MEMBER[candidate]
        assert row["label"] == LABELS[candidate]
        assert row["fpr"] == max(1, (values[~MEMBER] >= row["score"]).sum()) / 300
    assert min(row["fpr"] for row in rows) == 1 / 300


def test_a_class_is_called_exposed_beyond_the_number_of_classes_and_of_attacks(found):
    by_class = {row["class"]: row["p_adjusted"] for row in found["per_class"]["rows"]}
    assert by_class["cat"] > 0.05, "members of this class score as others do"
    assert by_class["eel"] < 1e-6


def test_a_guess_singles_nobody_out(scores):
    guesses = [row("weak", 0.5, p_adjusted=0.4), row("strong", 0.8, p_adjusted=0.05)]
    arguments = {"labels": LABELS, "index": LABELS, "class_names": ("cat", "dog", "eel"), "threat_model": "adaptive"}
    found = exposure(guesses, scores, MEMBER, **arguments)
    for table in found.values():
        assert table["rows"] == []
        assert table["attack"] is None
        assert "None of the 2 attacks on all candidates is beyond guessing, corrected for the 2" in table["note"]


def test_a_class_without_non_members_has_no_area():
    values = {"adaptive/a": np.array([1.0, 0.0, 0.5, 0.2])}
    found = exposure(
        [row("a", 0.5)],
        values,
        np.array([True, False, True, False]),
        labels=np.array([0, 0, 1, 0]),
        index=np.arange(4),
        class_names=("x", "y"),
        threat_model="adaptive",
    )
    assert found["per_class"]["rows"][1] == {
        "class": "y", "members": 1, "non_members": 0, "auc": None, "auc_ci": None, "tpr_at_0.01": None,
        "p_adjusted": None, "note": "has no non-members",
    }  # fmt: skip
    assert [row["index"] for row in found["most_exposed"]["rows"]] == [0, 2]


def test_without_an_attack_on_all_candidates_there_are_no_tables(scores):
    arguments = {"labels": LABELS, "index": LABELS, "class_names": ("a",), "threat_model": "adaptive"}
    assert exposure([row("on-a-part", 0.9)], scores, MEMBER, **arguments) == {}


def test_a_member_is_stable_that_half_of_the_reference_models_find_as_well():
    """Of 80 members one is known by all ten draws, and one by a single one of them."""
    rng, member = np.random.default_rng(2), np.arange(160) < 80
    draws = rng.normal(size=(10, 160))
    draws[:, 5] = 9
    draws[0, 7], draws[1:, 7] = 9, -9
    scores = {"adaptive/a": draws[0]}
    found = exposure(
        [row("a", 0.6)], scores, member, labels=np.zeros(160, int), index=np.arange(160), class_names=("x",),
        threat_model="adaptive", groups=np.arange(160) // 2, again=lambda best: Again(draws, 2, 4),
    )["most_exposed"]  # fmt: skip
    assert found["stability"] == {"draws": 10, "reference_models": 2, "of": 4}
    by_index = {each["index"]: each["stability"] for each in found["rows"]}
    assert by_index[5] == {"fpr": [1 / 80, 1 / 80], "among_first": 10}
    assert by_index[7] == {"fpr": [1 / 80, 1.0], "among_first": 1}
    first = {tuple(person["index"]): person for person in found["persons"]}
    assert (first[4, 5]["records"], first[4, 5]["rank"] <= 2) == (2, True)
    assert first[4, 5]["fpr"] == 1 / 40


def test_half_of_the_models_keep_pairs_and_the_direction_and_too_few_are_told():
    rng = np.random.default_rng(3)
    halves = rng.random((4, 40)) < 0.5
    references = References(rng.normal(size=(8, 40)), np.stack([halves, ~halves], axis=1).reshape(8, 40))
    target = Outputs(np.tile([0.6, 0.4], (40, 1)), np.zeros(40, np.int64))
    lira = row("lira-online", 0.6) | {"direction": "reversed"}
    again = with_half_of_the_models(lira, Evidence(target, references=references), 0)
    assert (again.scores.shape, again.models, again.of) == ((10, 40), 4, 8)
    stated = with_half_of_the_models(row("lira-online", 0.6), Evidence(target, references=references), 0)
    np.testing.assert_array_equal(again.scores, -stated.scores)
    few = Evidence(target, references=references.of_models(np.arange(4)))
    assert "half of 4 reference models are too few" in with_half_of_the_models(lira, few, 0).why_not
    assert "no reference models" in with_half_of_the_models(row("loss", 0.6), few, 0).why_not
