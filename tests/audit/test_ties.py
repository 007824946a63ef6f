"""Rounding decides nothing: not who is a member, and not how well that is told."""

import numpy as np
import pytest
from simulated import simulate

from edgepriv.audit.assess import assess, select
from edgepriv.audit.evidence import Evidence, Outputs, log_odds
from edgepriv.audit.ties import NEAR, WIDE, settled


def shaken(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each moved by one unit in its last place, up, down or not at all; what stands at 0 or 1 stays there."""
    by = np.random.default_rng(seed).integers(-1, 2, size=values.shape)
    moved = np.where(
        by > 0, np.nextafter(values, np.float32(2)), np.where(by < 0, np.nextafter(values, -values), values)
    )
    return np.where((values == 0) | (values == 1), values, moved).astype(np.float32)


def forest(n: int = 2000, trees: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of trees that vote for each of three classes, float32 [n, 3], and labels."""
    generator = np.random.default_rng(seed)
    votes = generator.multinomial(trees, (0.6, 0.3, 0.1), size=n)
    return (votes / trees).astype(np.float32), generator.integers(3, size=n)


def test_what_differs_by_rounding_is_equal_and_nothing_else_is_moved():
    third = np.float32(1 / 3)
    below = np.nextafter(third, np.float32(0))
    values = np.array([third, below, 0.5, 0.0, 1.0, 1e-30, 1.01e-30], dtype=np.float32)
    assert settled(values).tolist() == [below, below, 0.5, 0.0, 1.0, np.float32(1e-30), np.float32(1.01e-30)]
    probabilities, _ = forest()
    assert np.array_equal(settled(probabilities), settled(shaken(probabilities))) is False, (
        "the lowest of a clump moves"
    )
    again = settled(shaken(probabilities))
    assert len(np.unique(again)) == len(np.unique(probabilities))


def test_a_real_ranking_stays_however_dense_and_however_certain():
    dense = np.float32(0.5) + np.arange(1000, dtype=np.float32) * np.finfo(np.float32).eps
    assert np.array_equal(settled(dense), dense)
    certain = np.exp(-np.array([80.0, 81.0, 82.0])).astype(np.float32)
    probabilities = np.stack([np.float32(1) - certain, certain], axis=1)
    odds = log_odds(settled(probabilities), np.zeros(3, dtype=int))
    assert odds == pytest.approx([80, 81, 82], abs=1e-5)
    assert WIDE * np.finfo(np.float32).eps < 1e-5
    assert NEAR < WIDE


@pytest.mark.parametrize("values", [np.array([-2.0, 3.0, -0.0, 0.0]), np.zeros((0,)), np.ones((2, 3), np.float32)])
def test_any_shape_and_sign(values):
    assert np.array_equal(settled(values), values)
    assert settled(values).dtype == values.dtype


@pytest.mark.parametrize("of", ["a forest's few values", "a network's many"])
def test_one_unit_in_the_last_place_moves_no_figure(of):
    evidence, member = simulate(1.0, n=2000, references=2)
    outputs = evidence.target
    if of.startswith("a forest"):
        outputs = Outputs(*forest(len(member)))
        # Without care, the batch of members would be told from that of others.
        bias = np.where(member[:, None], shaken(outputs.probabilities), outputs.probabilities)
        other = Outputs(bias.astype(np.float32), outputs.labels)
    else:
        other = Outputs(shaken(outputs.probabilities), outputs.labels)
    rows = [
        assess(Evidence(seen), member, attacks=select("quick"), threat_model="none").attacks
        for seen in (outputs, other)
    ]
    within = 1e-12 if of.startswith("a forest") else 1e-5
    for before, after in zip(*rows, strict=True):
        if before["name"].startswith("blindmi"):
            continue  # picks its sets among the candidates by their values
        assert after["auc"] == pytest.approx(before["auc"], abs=within)
        for fpr, found in before["tpr_at_fpr"].items():
            assert after["tpr_at_fpr"][fpr]["value"] == pytest.approx(found["value"], abs=1e-3 if within > 1e-9 else 0)
