"""Subgroups of the classifier's figures, and those that fall against the float twin."""

import numpy as np
import pytest
from scipy.stats import binomtest

from edgepriv.audit.answers import Outputs
from edgepriv.audit.classifier import classifier_part
from edgepriv.audit.subgroups import changes_of, compare
from edgepriv.data import Subgroups
from edgepriv.report.classifier import subgroup_rows

OF = np.repeat([0, 1, 2], [200, 200, 3])
WHO = Subgroups("land", OF, ("north", "south", "west", "nobody"))


def paired():
    """Both have 180 of 200 right in the north; in the south 30 of 180 are lost and 4 won; in the west all 3 are lost."""
    before = np.concatenate([np.arange(200) < 180, np.arange(200) < 180, np.ones(3, bool)])
    south = np.arange(200)
    after = np.concatenate([np.arange(200) < 180, (south >= 30) & (south < 184), np.zeros(3, bool)])
    return before, after


def test_a_subgroup_that_falls_is_named_with_its_interval():
    before, after = paired()
    changes = changes_of(before, after, None, WHO)
    assert list(changes) == ["north", "south", "west"]
    south = changes["south"]
    assert south["value"] == pytest.approx(-0.13)
    gain = after[200:400].astype(float) - before[200:400]
    assert south["ci"][1] == pytest.approx(-0.13 + 1.96 * gain.std(ddof=1) / np.sqrt(200), abs=1e-4)
    assert south["p"] == pytest.approx(binomtest(30, 34, alternative="greater").pvalue)
    assert south["p_adjusted"] == pytest.approx(3 * south["p"])
    assert [name for name, row in changes.items() if row["falls"]] == ["south"]
    figures = {"subgroups": {"column": "land", "rows": [row(name) for name in changes]}}
    assert len(compare(figures, changes)) == 1
    (warning,) = compare(figures, changes)
    assert warning.startswith("'south' of land: accuracy falls from 90.0% to 77.0% on 200 held-out records")


def row(name):
    return {"subgroup": name, "n": 200, "accuracy": {"value": 0.77}}


def test_records_of_few_persons_are_weaker_evidence():
    before, after = paired()
    persons = np.arange(403) // 40
    alone, known = (changes_of(before, after, groups, WHO)["south"] for groups in (None, persons))
    assert known["value"] == alone["value"]
    assert known["p"] > 0.05 > alone["p"]
    assert known["ci"][0] < alone["ci"][0]
    assert not known["falls"]


def test_figures_of_a_subgroup_are_those_of_its_records_alone():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, len(OF))
    p = np.clip(0.25 + 0.5 * y + 0.3 * rng.normal(size=len(y)), 0.01, 0.99)
    seen = Outputs(np.stack([1 - p, p], axis=1), y)
    part = classifier_part(seen, None, None, ("a", "b"), WHO)
    rows = part["subgroups"]["rows"]
    assert [row["subgroup"] for row in rows] == ["north", "south", "west"]
    south = classifier_part(seen.take(np.flatnonzero(OF == 1)), None, None, ("a", "b"))
    assert rows[1]["accuracy"] == south["accuracy"]
    assert rows[1]["sensitivity"] == {key: south["classes"][1][key] for key in ("value", "ci", "n")}
    assert [name for name, _ in subgroup_rows([part])] == ["north", "south", "west"]
