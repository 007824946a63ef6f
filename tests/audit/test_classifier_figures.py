"""What is said of the classifier itself, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

from edgepriv.audit.answers import Outputs
from edgepriv.audit.bootstrapped import intervals_of
from edgepriv.audit.classifier import calibration_error, classifier_part
from edgepriv.report.classifier import classifier_table


def outputs(n, classes, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    raw = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[y]
    p = np.exp(raw)
    return Outputs(p / p.sum(axis=1, keepdims=True), y)


@pytest.mark.parametrize("classes", [2, 5])
def test_figures_are_those_of_scikit_learn(classes):
    seen = outputs(400, classes)
    found = classifier_part(seen, outputs(200, classes, 1), None, tuple(map(str, range(classes))))
    y, p, predicted = seen.labels, seen.probabilities, seen.predicted
    assert found["confusion"] == confusion_matrix(y, predicted).tolist()
    kind = {"average": "binary"} if classes == 2 else {"average": "macro"}
    assert found["f1"] == pytest.approx(f1_score(y, predicted, **kind))
    area = roc_auc_score(y, p[:, 1]) if classes == 2 else roc_auc_score(y, p, multi_class="ovr", average="macro")
    assert found["auc"]["value"] == pytest.approx(area)
    assert [row["value"] for row in found["classes"]] == pytest.approx(
        recall_score(y, predicted, average=None).tolist()
    )
    at = found["at_threshold"]
    assert (at is None) == (classes > 2)
    if at:
        positive = p[:, 1] >= at["threshold"]
        assert at["sensitivity"]["value"] == pytest.approx(recall_score(y, positive))
        assert at["specificity"]["value"] == pytest.approx(recall_score(y, positive, pos_label=0))
    assert classifier_table(found, found)


def test_calibration_by_hand():
    """Half are sure by 0.9 and always right, half by 0.6 and never: (0.1 + 0.6) / 2."""
    p = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    assert calibration_error(Outputs(p, np.repeat([0, 1], 10))) == pytest.approx(0.35)


def test_records_of_one_person_widen_the_interval():
    seen = outputs(300, 2)
    copies = np.repeat(np.arange(300), 4)
    many = seen.take(copies)
    alone, known = (classifier_part(many, None, groups, ("a", "b"))["accuracy"]["ci"] for groups in (None, copies))
    assert known[0] < alone[0] < alone[1] < known[1]
    assert known == pytest.approx(classifier_part(seen, None, None, ("a", "b"))["accuracy"]["ci"], abs=1e-3)


def test_bootstrapped_intervals_are_as_wide_as_known_ones():
    seen = outputs(400, 4)
    figures = classifier_part(seen, None, None, tuple("abcd"))
    assert figures["bootstrap"] == {"draws": 300, "seed": 0, "over": "records"}
    for figure, ends in (
        (figures["f1"], figures["f1_ci"]),
        (figures["auc"]["value"], figures["auc"]["ci"]),
        (figures["calibration_error"], figures["calibration_error_ci"]),
    ):
        assert 0 <= ends[0] <= figure <= ends[1] <= 1
    # Macro F1 of balanced classes moves about as accuracy does.
    reach = np.diff(figures["accuracy"]["ci"])[0]
    assert np.diff(figures["f1_ci"])[0] == pytest.approx(reach, rel=0.25)
    assert intervals_of(seen, None)["auc"] == figures["auc"]["ci"]


def test_persons_are_drawn_whole():
    seen = outputs(100, 3)
    copies = np.repeat(np.arange(100), 5)
    alone, known = (intervals_of(seen.take(copies), groups) for groups in (None, copies))
    assert known["over"] == "persons"
    for name in ("f1", "auc"):
        assert np.diff(known[name])[0] > 1.7 * np.diff(alone[name])[0]
    assert intervals_of(seen, np.zeros(100, int))["f1"] is None


def test_a_calibrated_model_may_have_no_calibration_error_at_all():
    """On few records a model that is right as often as it says shows an error; the interval begins at 0, of persons too."""
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 100)
    p, calibrated = np.stack([sure, 1 - sure], axis=1), (rng.random(100) > sure).astype(int)
    assert calibration_error(Outputs(p, calibrated)) > 0.05
    for records, groups in ((np.arange(100), None), (np.arange(100).repeat(2), np.arange(100).repeat(2))):
        right, wrong = (Outputs(p, labels).take(records) for labels in (calibrated, 1 - calibrated))
        assert intervals_of(right, groups)["calibration_error"][0] == 0
        assert intervals_of(wrong, groups)["calibration_error"][0] > 0.05


@pytest.mark.parametrize(
    ("classes", "said"), [(2, "F1 and AUC are those of '1', the second class"), (3, "(macro; AUC of")]
)
def test_how_figures_are_averaged_stands_beside_them(classes, said):
    figures = classifier_part(outputs(60, classes), None, None, tuple(map(str, range(classes))))
    assert any(said in line for line in classifier_table(figures, None)[1:])
