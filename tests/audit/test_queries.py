"""What repeated questions measure, on models whose answers can be computed by hand."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from edgepriv.audit import boundary
from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.attacks.base import QUERIES
from edgepriv.audit.augment import MOST_COPIES, copies, copies_of
from edgepriv.audit.boundary import boundary_distance, boundary_queries, noise_distance, noise_survival
from edgepriv.audit.evidence import Evidence, Queried
from edgepriv.audit.queries import Asked, labels_on, on_perturbed
from edgepriv.training.pgd import Budget

FEATURES = 20
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=FEATURES).astype(np.float32)
X = (0.5 + 0.1 * RNG.standard_normal((300, FEATURES))).astype(np.float32).clip(0, 1)
MARGIN = (X - 0.5) @ WEIGHTS
DISTANCE = np.abs(MARGIN) / np.linalg.norm(WEIGHTS)
SIDE = (MARGIN > 0).astype(np.int64)


class Linear:
    """Two classes on the two sides of a plane through the middle; counts its answers."""

    def __init__(self):
        self.answers = 0

    def labels(self, x):
        self.answers += len(x)
        return ((x - 0.5) @ WEIGHTS > 0).astype(np.int64)

    def asked(self):
        def logits(x):
            margin = (x - 0.5) @ torch.from_numpy(WEIGHTS)
            return torch.stack([torch.zeros_like(margin), margin], dim=1)

        return Asked(lambda x: logits(torch.from_numpy(x)).softmax(1).numpy(), logits)


# --- distance to the boundary ---


def test_the_boundary_of_a_linear_classifier_is_found_from_the_far_side():
    found = boundary_distance(Linear().labels, X, SIDE, rounds=6, probes=60)
    assert (found > DISTANCE * 0.999).all()
    assert np.median(found / DISTANCE) < 1.15
    assert np.corrcoef(found, DISTANCE)[0, 1] > 0.98


def test_more_questions_come_nearer():
    excess = [
        np.median(boundary_distance(Linear().labels, X, SIDE, rounds=rounds, probes=20) / DISTANCE)
        for rounds in (0, 2, 6)
    ]
    assert excess[0] > excess[1] > excess[2] > 1


@pytest.mark.parametrize(("rounds", "probes"), [(0, 0), (1, 7), (3, 25), (5, 10)])
def test_no_example_is_asked_about_more_often_than_stated(rounds, probes):
    model = Linear()
    boundary_distance(model.labels, X, SIDE, rounds=rounds, probes=probes)
    assert model.answers == boundary_queries(rounds, probes) * len(X)


def test_wrong_answers_have_no_distance_and_cost_one_question():
    model = Linear()
    assert (boundary_distance(model.labels, X, 1 - SIDE) == 0).all()
    assert model.answers == len(X)
    mixed = np.where(np.arange(len(X)) % 2, SIDE, 1 - SIDE)
    found = boundary_distance(model.labels, X, mixed)
    np.testing.assert_array_equal(found > 0, np.arange(len(X)) % 2 == 1)


def test_without_another_answer_the_distance_is_the_diagonal():
    found = boundary_distance(lambda x: np.zeros(len(x), np.int64), X, np.zeros(len(X), np.int64))
    np.testing.assert_allclose(found, np.sqrt(FEATURES))


def test_the_order_of_the_examples_means_nothing():
    order = np.random.default_rng(1).permutation(len(X))
    for measure in (boundary_distance, noise_survival):
        straight = measure(Linear().labels, X, SIDE, seed=3)
        np.testing.assert_allclose(measure(Linear().labels, X[order], SIDE[order], seed=3), straight[order], rtol=1e-4)


def test_images_are_asked_about_as_images():
    def labels(x):
        assert x.shape[1:] == (1, 4, 5)
        return Linear().labels(x.reshape(len(x), -1))

    flat = boundary_distance(Linear().labels, X, SIDE)
    np.testing.assert_array_equal(boundary_distance(labels, X.reshape(-1, 1, 4, 5), SIDE), flat)


# --- noise ---


def test_noise_tells_the_distance_of_a_linear_classifier(monkeypatch):
    monkeypatch.setattr(boundary, "NOISE", np.array([0.02, 0.05, 0.1, 0.15]))  # so little that clipping hardly acts
    monkeypatch.setattr(boundary, "NOISE_SAMPLES", 60)
    model = Linear()
    survival = noise_survival(model.labels, X, SIDE)
    assert survival.shape == (300, 5)
    assert model.answers == (1 + 4 * 60) * len(X)
    assert (survival[:, 0] == 1).all()
    found, near = noise_distance(survival), DISTANCE < 0.2  # beyond, noise so weak never tells
    assert np.abs(np.log(found[near] / DISTANCE[near])).mean() < 0.35
    assert np.corrcoef(found[near], DISTANCE[near])[0, 1] > 0.9


def test_wrong_answers_survive_no_noise():
    assert (noise_distance(noise_survival(Linear().labels, X, 1 - SIDE)) == 0).all()


# --- augmented copies ---


def test_grey_images_are_shifted_and_colour_images_mirrored_too():
    image = np.zeros((1, 1, 6, 6), np.float32)
    image[0, 0, 2, 3] = 1
    shifted = list(copies(image, binary=False))
    assert len(shifted) == copies_of((1, 6, 6)) == 13
    np.testing.assert_array_equal(shifted[0], image)
    places = {tuple(np.argwhere(copy[0, 0])[0] - (2, 3)) for copy in shifted}
    assert len(places) == 13
    assert all(abs(down) + abs(right) <= 2 for down, right in places)
    colour = np.random.default_rng(0).random((2, 3, 6, 6)).astype(np.float32)
    mirrored = list(copies(colour, binary=False))
    assert len(mirrored) == copies_of((3, 6, 6)) == 26 <= MOST_COPIES
    np.testing.assert_array_equal(mirrored[13], colour[..., ::-1])


def test_tables_of_zeros_and_ones_are_flipped_and_others_get_noise():
    table = (np.random.default_rng(0).random((2, 500)) < 0.5).astype(np.float32)
    flipped = list(copies(table, binary=True))
    assert len(flipped) == copies_of((500,)) == 25
    np.testing.assert_array_equal(flipped[0], table)
    assert all(set(np.unique(copy)) <= {0, 1} for copy in flipped)
    assert [
        round(float(np.mean([np.abs(copy - table).mean() for copy in flipped[1 + 6 * k : 7 + 6 * k]])), 2)
        for k in range(4)
    ] == [pytest.approx(share, abs=0.011) for share in (0.01, 0.02, 0.05, 0.1)]
    noisy = list(copies(np.full((2, 500), 0.5, np.float32), binary=False))
    assert [copy.std() for copy in noisy[1::6]] == [pytest.approx(s, rel=0.15) for s in (0.02, 0.05, 0.1, 0.2)]


def test_augmentation_scores_the_share_of_copies_classified_right():
    model = Linear()
    seen = labels_on("augmentation", model.asked(), X, SIDE, binary=False, seed=0)
    by_hand = np.stack([model.labels(copy) == SIDE for copy in copies(X, binary=False, seed=0)], axis=1)
    np.testing.assert_array_equal(seen, by_hand)
    evidence = Evidence(Outputs(np.eye(2)[SIDE], SIDE), queried={"augmentation": Queried(seen)})
    np.testing.assert_allclose(ATTACKS["label-only-augmentation"].run(evidence), by_hand.mean(axis=1))


# --- perturbed candidates ---


def test_perturbed_candidates_of_a_linear_classifier_are_the_worst_in_the_box():
    budget = Budget("linf", 0.05, 0.02, 10)
    answers = on_perturbed(Linear().asked(), X, SIDE, budget, tries=2, seed=0)
    assert answers.shape == (2, 300, 2)
    inside = (np.abs(X - 0.5) < 0.45).all(axis=1)
    worst = MARGIN - np.where(SIDE, 1, -1) * 0.05 * np.abs(WEIGHTS).sum()
    np.testing.assert_allclose(answers[0][inside, 1], expit(worst[inside]), atol=1e-5)


def test_the_worst_case_is_the_lowest_confidence_of_all_tries():
    tries = np.array([[3.0, -1.0, 2.0], [5.0, 6.0, 4.0]])
    evidence = Evidence(Outputs(np.eye(2), np.arange(2)), queried={"worst-case": Queried(tries)}, adversarial=True)
    np.testing.assert_array_equal(ATTACKS["adversarial-robustness"].run(evidence), [-1, 4])


# --- what the registry says ---


def test_questions_per_example_are_stated():
    assert ATTACKS["label-only-boundary"].queries == boundary_queries()
    assert ATTACKS["label-only-noise"].queries == 1 + len(boundary.NOISE) * boundary.NOISE_SAMPLES
    assert ATTACKS["confidence"].queries == ATTACKS["adversarial/confidence"].queries == 1
    assert set(QUERIES.values()) == {"clean", "label-only", "adversarial", "white-box"}


def test_every_plain_attack_that_needs_no_more_than_answers_has_its_perturbed_twin():
    for name in (
        "confidence",
        "modified-entropy",
        "loss",
        "lira-online",
        "rmia-offline",
        "shadow-mlp",
        "loss-classwise",
    ):
        perturbed = ATTACKS[f"adversarial/{name}"]
        assert perturbed.needs == ATTACKS[name].needs | {"gradients"}
        assert perturbed.paper == ATTACKS[name].paper
