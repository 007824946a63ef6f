"""Rounding decides nothing: not who is a member, and not how well that is told."""

import numpy as np
import pytest
from simulated import simulate

from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.assess import assess, select
from edgepriv.audit.attacks.signals import confidence, loss
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.ties import NEAR, WIDE, settled


def shaken(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each moved by one unit in its last place, up, down or not at all; what stands at 0 or 1 stays there."""
    by = np.random.default_rng(seed).integers(-1, 2, size=values.shape)
    moved = np.where(
        by > 0, np.nextafter(values, np.float32(2)), np.where(by < 0, np.nextafter(values, -values), values)
    )
    return np.where((values == 0) | (values == 1), values, moved).astype(np.float32)


def forest(n: int = 2000, trees: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of trees that vote for each of three classes, float32 [n, 3], one class ahead of the others, and labels."""
    generator = np.random.default_rng(seed)
    votes = generator.multinomial(trees, (0.6, 0.3, 0.1), size=n)
    votes[np.arange(n), votes.argmax(axis=1)] += 1
    return (votes / (trees + 1)).astype(np.float32), generator.integers(3, size=n)


def test_what_differs_by_rounding_is_equal():
    """Three tenths and two tenths, four tenths and one tenth, and a third in two forms."""
    half = [np.float32(0.3) + np.float64(np.float32(0.2)), np.float32(0.4) + np.float64(np.float32(0.1))]
    third = [np.float64(np.float32(1 / 3)), np.float64(np.nextafter(np.float32(1 / 3), np.float32(0)))]
    made = np.array([*half, *third])
    assert len(np.unique(made)) == 4
    assert len(np.unique(settled(made))) == len(np.unique(settled(-np.log(made)))) == 2
    probabilities, labels = forest()
    once, again = (loss(Outputs(seen.astype(np.float32), labels)) for seen in (probabilities, shaken(probabilities)))
    assert len(np.unique(settled(again))) == len(np.unique(settled(once))) < len(np.unique(again)) / 2


@pytest.mark.parametrize("signal", [loss, confidence])
def test_a_real_ranking_stays_however_certain(signal):
    """Both sides of certainty; a float64 confidence ends at 1 - 1e-16 by itself."""
    odds = np.array([8.0, 16, 17, 18, 30, 31, *([80, 81, 82] if signal is loss else [])])
    wrong = np.exp(-odds).astype(np.float32)
    seen = Outputs(np.stack([np.float32(1) - wrong, wrong], axis=1), np.zeros(len(odds), dtype=np.int64))
    assert (np.diff(settled(signal(seen))) > 0).all()
    flipped = Outputs(seen.probabilities[:, ::-1], seen.labels)
    assert (np.diff(settled(signal(flipped))) < 0).all()


def test_a_real_ranking_stays_however_dense():
    dense = 0.25 + np.arange(1000) * 2.0**-26
    assert np.array_equal(settled(dense), dense)
    assert np.array_equal(settled(-dense), -dense)
    assert WIDE > NEAR


def test_log_odds_of_80_and_81_are_far_apart():
    probabilities = np.exp(-np.array([[0.0, 80], [0, 81]])).astype(np.float32)
    odds = log_odds(probabilities, np.zeros(2, dtype=int))
    assert settled(odds) == pytest.approx([80, 81], abs=1e-5)


@pytest.mark.parametrize(
    "values", [np.array([-2.0, 3.0, -0.0, 0.0]), np.ones(3), np.array([0.0, 1.0]), np.array([0.5 - 1e-4, 0.5 + 1e-4])]
)
def test_values_that_are_apart_stay(values):
    assert np.array_equal(settled(values), values)


@pytest.mark.parametrize("of", ["a forest's few values", "a network's many"])
def test_one_unit_in_the_last_place_moves_no_figure(of):
    evidence, member = simulate(1.0, n=2000, references=2)
    outputs = Outputs(evidence.target.probabilities, evidence.target.labels)
    if of.startswith("a forest"):
        outputs = Outputs(*forest(len(member)))
        # Without care, the batch of members would be told from that of others.
        other = np.where(member[:, None], shaken(outputs.probabilities), outputs.probabilities).astype(np.float32)
    else:
        other = shaken(outputs.probabilities)
    names = [
        name for name in select("quick") if not name.startswith("blindmi")
    ]  # that sorts candidates by their values
    before, after = (
        assess(Evidence(seen), member, attacks=names, threat_model="none").attacks
        for seen in (outputs, Outputs(other, outputs.labels))
    )
    area, rate = (1e-12, 0) if of.startswith("a forest") else (1e-5, 1e-3)
    for one, two in zip(before, after, strict=True):
        assert two["auc"] == pytest.approx(one["auc"], abs=area)
        for fpr, found in one["tpr_at_fpr"].items():
            assert two["tpr_at_fpr"][fpr]["value"] == pytest.approx(found["value"], abs=rate)
