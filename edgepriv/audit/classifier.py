"""The classifier itself, on held-out records: how right it is, how sure, and of whom."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score, roc_curve

from edgepriv.audit.answers import Bools, Outputs
from edgepriv.audit.bootstrapped import BINS, intervals_of
from edgepriv.audit.clustered import Groups
from edgepriv.audit.rates import rate_of, taken
from edgepriv.audit.statistics import auc
from edgepriv.audit.subgroups import subgroups_part
from edgepriv.data.dataset import Subgroups

FEWEST = 20
"""Records that a threshold is chosen on, at least, of each class."""


def classifier_part(
    outputs: Outputs,
    chosen_on: Outputs | None,
    groups: Groups,
    class_names: tuple[str, ...],
    subgroups: Subgroups | None = None,
) -> dict[str, Any]:
    """``classifier`` of the audit, of one file.

    Args:
        outputs: its answers to n held-out records.
        chosen_on: its answers to the validation records, on which the threshold of two classes is chosen (Youden 1950) and
            which nothing is reported on; None without any.
        groups: int64 [n], whose records they are.
        class_names: by class.
        subgroups: of the same n records, to report on apart; None without any.

    Returns:
        ``n``; ``accuracy``; ``auc`` (of several classes the mean over each against the rest, of those that occur); ``f1`` (of
        two classes that of the second, else the mean); ``calibration_error`` (expected, of the label given, 15 equal bins of
        its probability: Guo et al. 2017); ``confusion`` (rows: true); ``classes``: recall of each; ``at_threshold`` of two
        classes, None without one; ``subgroups`` (see ``subgroups_part``). Intervals are Wilson's and DeLong's, of ``clustered``
        sizes; ``f1_ci``, ``calibration_error_ci`` and that of the area of several classes are of ``bootstrap`` (see
        ``intervals_of``).
    """
    truth, predicted = outputs.labels, outputs.predicted
    count = len(class_names)
    intervals = intervals_of(outputs, groups)
    at = _at_threshold(outputs, chosen_on, groups) if count == 2 else None
    return {
        "n": len(truth),
        "bootstrap": {name: intervals[name] for name in ("draws", "seed", "over")},
        "accuracy": rate_of(predicted == truth, groups),
        "auc": _area(outputs, groups) | ({} if count == 2 else {"ci": intervals["auc"]}),
        "f1": float(f1_score(truth, predicted, average="binary" if count == 2 else "macro", zero_division=0)),
        "f1_ci": intervals["f1"],
        "calibration_error": calibration_error(outputs),
        "calibration_error_ci": intervals["calibration_error"],
        "confusion": confusion_matrix(truth, predicted, labels=np.arange(count)).tolist(),
        "class_names": list(class_names),
        "classes": [
            {"class": name, **rate_of(predicted[truth == label] == label, taken(groups, truth == label))}
            for label, name in enumerate(class_names)
            if (truth == label).any()
        ],
        "at_threshold": at,
        "subgroups": None
        if subgroups is None
        else subgroups_part(outputs, _positive(outputs, at) if count == 2 else None, groups, subgroups),
    }


def calibration_error(outputs: Outputs) -> float:
    """Sum over bins of the share of records times |accuracy - mean probability of the label given|.

    Args:
        outputs: of n records, with probabilities [n, K] and labels.

    Returns:
        In [0, 1].
    """
    sure, right = outputs.probabilities.max(axis=1).astype(np.float64), outputs.predicted == outputs.labels
    place = np.minimum(np.ceil(sure * BINS).astype(int) - 1, BINS - 1).clip(0)
    gaps = np.bincount(place, weights=right - sure, minlength=BINS)
    return float(np.abs(gaps).sum() / len(sure))


def _area(outputs: Outputs, groups: Groups) -> dict[str, Any]:
    p, y = outputs.probabilities, outputs.labels
    present = np.unique(y)
    if len(present) < 2:
        return {"value": None, "ci": None}
    if p.shape[1] == 2:
        area, interval = auc(p[:, 1], y == 1, groups)
        return {"value": area, "ci": list(interval)}
    return {"value": float(np.mean([roc_auc_score(y == label, p[:, label]) for label in present])), "ci": None}


def _at_threshold(outputs: Outputs, chosen_on: Outputs | None, groups: Groups) -> dict[str, Any] | None:
    if chosen_on is None or np.bincount(chosen_on.labels, minlength=2).min() < FEWEST:
        return None
    fpr, tpr, thresholds = roc_curve(chosen_on.labels, chosen_on.probabilities[:, 1])
    threshold = float(min(thresholds[int(np.argmax(tpr - fpr))], 1.0))
    positive, ill = outputs.probabilities[:, 1] >= threshold, outputs.labels == 1
    return {
        "threshold": threshold,
        "chosen_on": len(chosen_on.labels),
        "sensitivity": rate_of(positive[ill], taken(groups, ill)),
        "specificity": rate_of(~positive[~ill], taken(groups, ~ill)),
    }


def _positive(outputs: Outputs, at: Mapping[str, Any] | None) -> Bools:
    """bool [n], at the threshold; the label given where none was chosen."""
    positive: Bools = outputs.predicted == 1 if at is None else outputs.probabilities[:, 1] >= at["threshold"]
    return positive
