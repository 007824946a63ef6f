"""Membership attacks of the Adversarial Robustness Toolbox on the exported file, behind its black-box classifier."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.special import logit
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from edgepriv.artifact.export import export
from edgepriv.artifact.session import open_session, predict
from edgepriv.audit import statistics
from edgepriv.audit.answers import Outputs
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.boundary import boundary_distance
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import Shadow
from edgepriv.models.classifier import Classifier
from edgepriv.recipe import Quantize
from edgepriv.training.quantization import quantize_weights

attacks = pytest.importorskip(
    "art.attacks.inference.membership_inference",
    reason="adversarial-robustness-toolbox is not installed: make oracles",
)
SIDE = 200


@dataclass(frozen=True)
class Deployed:
    """A 4-bit file that learnt the first half of ``x`` by heart."""

    session: object
    x: np.ndarray
    y: np.ndarray

    @property
    def outputs(self):
        return Outputs(predict(self.session, self.x), self.y)

    @property
    def black_box(self):
        """ART knows nothing but the function that asks the file."""
        from art.estimators.classification import BlackBoxClassifierNeuralNetwork

        return BlackBoxClassifierNeuralNetwork(
            lambda x: predict(self.session, x.astype(np.float32)), (64,), 10, clip_values=(0.0, 1.0)
        )


MEMBER = np.arange(2 * SIDE) < SIDE


def trained(index, path, seed):
    """A network of one hidden layer on noisy labels, which it can only learn by heart, as a file."""
    digits = load_digits()
    x, y = (digits.data[index] / 16).astype(np.float32), digits.target[index].astype(np.int64)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    noise = np.random.default_rng(seed).random(len(y)) < 0.2
    y[noise] = np.random.default_rng(seed).integers(10, size=noise.sum())
    known, labels = torch.from_numpy(x[MEMBER]), torch.from_numpy(y[MEMBER])
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(network(known), labels).backward()
        optimizer.step()
    classifier = Classifier(network, [0.0], [1.0]).eval()
    weights = quantize_weights(network, Quantize(bits=4))
    export(classifier, weights, input_shape=(64,), class_names=[*"0123456789"], x=x, path=path)
    return Deployed(open_session(path), x, y)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The target, and a shadow model of the same kind on other examples."""
    order, folder = np.random.default_rng(0).permutation(1797), tmp_path_factory.mktemp("art")
    halves = order[: 2 * SIDE], order[2 * SIDE : 4 * SIDE]
    return [trained(index, folder / f"{seed}.onnx", seed) for seed, index in enumerate(halves)]


def test_the_rule_based_attack_is_ours_on_correct_predictions(pair):
    target, _ = pair
    theirs = attacks.MembershipInferenceBlackBoxRuleBased(target.black_box).infer(target.x, target.y)
    ours = ATTACKS["correctness"].run(Evidence(target.outputs))
    np.testing.assert_array_equal(ours, theirs)
    assert statistics.auc(ours, MEMBER)[0] > 0.55


def test_the_learned_attack_leaks_as_much_as_ours_on_the_same_shadow_model(pair):
    """Two networks that learn one task: each one's AUC lies in the other's interval."""
    target, shadow = pair
    torch.manual_seed(0)
    learned = attacks.MembershipInferenceBlackBox(target.black_box, nn_model_epochs=60, nn_model_learning_rate=1e-3)
    known = shadow.outputs.probabilities
    learned.fit(pred=known[MEMBER], test_pred=known[~MEMBER])
    theirs = learned.infer(target.x, None, pred=target.outputs.probabilities, probabilities=True).ravel()
    ours = ATTACKS["shadow-mlp"].run(Evidence(target.outputs, shadow=Shadow(shadow.outputs, MEMBER)))
    (own, own_interval), (other, other_interval) = (statistics.auc(scores, MEMBER) for scores in (ours, theirs))
    assert own_interval[0] <= other <= own_interval[1]
    assert other_interval[0] <= own <= other_interval[1]
    assert min(own, other) > 0.6


def test_distances_to_the_boundary_by_labels_are_arts(pair):
    """Two searches by labels alone for the nearest other answer; each finds an upper bound, so the shorter is the better.

    Given as many questions, ours ends nearer on most examples (theirs starts from a random image, ours from the nearest
    record with another answer) and not much farther on any; both put the wrong answers at 0.
    """
    target, _ = pair
    some = np.r_[0:20, SIDE : SIDE + 20]
    x, y = target.x[some], target.y[some]
    np.random.seed(0)  # noqa: NPY002  what HopSkipJump draws from
    search = attacks.LabelOnlyDecisionBoundary(target.black_box, distance_threshold_tau=1.0)
    chance = search.infer(x, y, probabilities=True, max_iter=10, max_eval=500, init_eval=100, verbose=False)[:, 1]
    theirs = 1.0 + logit(chance)
    ours = boundary_distance(lambda x: predict(target.session, x).argmax(1), x, y, rounds=10, probes=100)
    wrong = target.outputs.take(some).probabilities.argmax(axis=1) != y
    assert 0 < wrong.sum() < len(some) / 2
    np.testing.assert_allclose(ours[wrong], 0)
    np.testing.assert_allclose(theirs[wrong], 0, atol=1e-6)
    assert spearmanr(ours, theirs).statistic > 0.6
    ratio = ours[~wrong] / theirs[~wrong]
    assert ratio.max() < 2
    assert np.median(ratio) < 1  # how much shorter depends on the random images that theirs starts from
