"""Attacks by whoever holds the weights: gradients, activations (Nasr et al. 2019) and the inverse Hessian (Suri et al. 2024).

The last layer is linear in its inputs h, so all that it tells has a closed form: by its weights and biases, the gradient of
the cross-entropy is (p - y) h', with h' = (h, 1), p the softmax and y one-hot, and its Hessian the mean of
(diag(p) - p p') h' h''. The scores come from the twin of the file, before any head, which cannot hide them from a holder.

Hidden units of another model stand in another order. What is learnt on a shadow model is therefore learnt of activations and
gradients in order of size, not by unit; Nasr et al. learn by unit, on members of the target itself that they know.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.special import log_softmax

from edgepriv.audit.answers import Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.query_based import learnt_on_shadow, of_queries
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.weights import GRADIENT_NORM, LAST_LAYER

LARGEST = 64
"""Activations, of the largest, that are learnt from."""
MOST_WEIGHTS = 3_000
"""Of the last layer, for its inverse Hessian: 72 MB, and a second or two."""
DAMPING, LEARNING_RATE = 0.2, 0.1
"""The damping is the default of the authors' code. Their score divides by the learning rate of SGD, which a file does not
tell."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear last layer on n examples. probabilities: float64 [n, K]; losses: float64 [n], cross-entropy of the true class;
    inputs: float64 [n, D]; labels: int64 [n]."""

    probabilities: Floats
    losses: Floats
    inputs: Floats
    labels: npt.NDArray[np.int64]

    @property
    def extended(self) -> Floats:
        """Inputs with the one that the bias is for, float64 [n, D + 1]."""
        return np.column_stack([self.inputs, np.ones(len(self.inputs))])

    @property
    def errors(self) -> Floats:
        """Probabilities less the one-hot label, float64 [n, K]."""
        errors = self.probabilities.copy()
        errors[np.arange(len(errors)), self.labels] -= 1
        return errors

    @property
    def gradients(self) -> Floats:
        """By weights and biases of the layer, float64 [n, K (D + 1)], class by class."""
        by_class = self.errors[:, :, None] * self.extended[:, None, :]
        return by_class.reshape(len(by_class), -1)

    def hessian(self) -> Floats:
        """Of the mean loss by the same, float64 [K (D + 1), K (D + 1)]."""
        h, p = self.extended, self.probabilities
        n, size = h.shape
        classes = p.shape[1]
        hessian = np.empty((classes, size, classes, size))
        for k in range(classes):
            for other in range(k + 1):
                weights = p[:, k] * ((k == other) - p[:, other])
                hessian[k, :, other] = hessian[other, :, k] = (h * weights[:, None]).T @ h / n
        return hessian.reshape(classes * size, -1)


def layer(asked: Floats, labels: npt.NDArray[np.int64], classes: int) -> Layer:
    """The last layer of a model on some examples.

    Args:
        asked: float64 [n, K + D], logits, then inputs of the layer.
        labels: int64 [n] in 0 .. K - 1.
        classes: K.

    Returns:
        The layer.
    """
    logged = log_softmax(asked[:, :classes], axis=1)
    return Layer(np.exp(logged), -logged[np.arange(len(labels)), labels], asked[:, classes:], labels)


def gradient_norm(evidence: Evidence) -> Floats:
    """How short the gradient of the candidate's loss by all weights is (Nasr et al. 2019).

    Args:
        evidence: with ``queried["gradient-norm"]``.

    Returns:
        float64 [n], minus the logarithm of its L2 norm: members have been fitted.

    Raises:
        Unavailable: where it is not known.
    """
    return -np.log(np.maximum(of_queries(evidence, GRADIENT_NORM).target[:, 0], np.finfo(np.float64).tiny))


def gradients_and_activations(evidence: Evidence) -> Floats:
    """P(member) by an MLP on the last layer's gradient and inputs and the loss, learnt on the shadow model (ibid.).

    Args:
        evidence: with ``queried["last-layer"]`` of the target and of a shadow model.

    Returns:
        float64 [n] in [0, 1].

    Raises:
        Unavailable: where they are not known, or there is no shadow model.
    """
    asked = of_queries(evidence, LAST_LAYER)
    if evidence.shadow is None or asked.shadow is None:
        raise Unavailable("needs a shadow model")
    classes = evidence.target.probabilities.shape[1]
    if asked.shadow.shape[1] != asked.target.shape[1]:
        raise Unavailable("the shadow model's last layer has another size")
    known = features(layer(asked.shadow, evidence.shadow.outputs.labels, classes))
    return learnt_on_shadow(known, features(layer(asked.target, evidence.target.labels, classes)), evidence)


def features(of: Layer) -> Floats:
    """What of a last layer means the same in another model of the same architecture.

    Args:
        of: the layer.

    Returns:
        float64 [n, F]: loss, lengths of gradient and of inputs (logarithms), entropy, share of inputs above 0, the largest
        inputs and the largest rows of the gradient, in order.
    """
    h, length = of.inputs, np.linalg.norm(of.extended, axis=1)
    wrong = np.abs(of.errors)
    entropy = -(of.probabilities * np.log(np.maximum(of.probabilities, 1e-30))).sum(axis=1)
    rows = -np.sort(-wrong, axis=1)[:, :LARGEST] * length[:, None]
    largest = -np.sort(-h, axis=1)[:, :LARGEST]
    gradient = np.linalg.norm(wrong, axis=1) * length
    single = [np.log(np.maximum(value, 1e-12)) for value in (of.losses, gradient, length)]
    return np.column_stack([*single, entropy, (h > 0).mean(axis=1), largest, np.log(np.maximum(rows, 1e-12))])


def inverse_hessian(evidence: Evidence) -> Floats:
    """Inverse Hessian attack (IHA, Suri, Zhang & Evans 2024) on the last layer.

    The paper's attacker knows all training records but one, and so the mean gradient of the others. Here nobody knows any:
    training is taken to have converged, so that the mean gradient of all training records is zero and the others' is minus
    the record's own, if it was one of them; candidates, members and others alike, give the Hessian, and their number stands
    for that of the training records, which the file does not tell. So neither who is a member nor anything that follows from
    it enters the score.

    Args:
        evidence: with ``queried["last-layer"]``.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: where it is not known, and where the layer is too large for its Hessian.
    """
    asked = of_queries(evidence, LAST_LAYER).target
    classes = evidence.target.probabilities.shape[1]
    weights = classes * (asked.shape[1] - classes + 1)
    if weights > MOST_WEIGHTS:
        raise Unavailable(
            f"the last layer has {weights:,} weights, more than the {MOST_WEIGHTS:,} whose Hessian is inverted here"
        )
    of = layer(asked, evidence.target.labels, classes)
    return -iha(of.losses, of.gradients, of.hessian(), np.zeros(weights), len(asked))


# What the formula is made of: one argument each.
def iha(
    losses: Floats,
    gradients: Floats,
    hessian: Floats,
    mean_gradient: Floats,
    records: int,
    *,
    damping: float = DAMPING,
    rate: float = LEARNING_RATE,
) -> Floats:
    """The score of the authors' code (``ProperTheoryRef``) for records that it takes for members.

    I1 - (I2 + I3): I1 the loss, I2 = |v|^2 / (n rate), I3 = 2 u . v / rate, with v the inverse Hessian times the record's
    gradient g, and u the same of the others' mean gradient, (n m - g) / (n - 1).

    Args:
        losses: float64 [k].
        gradients: float64 [k, P].
        hessian: float64 [P, P] of the mean loss, positive semidefinite.
        mean_gradient: float64 [P], m, of the mean loss over all n training records.
        records: n.
        damping: what is added to the Hessian's diagonal.
        rate: learning rate of SGD.

    Returns:
        float64 [k]; lower for members.
    """
    damped = hessian.copy(order="F")  # one copy, which becomes the factor: of many weights it is most of the memory
    damped[np.diag_indices_from(damped)] += damping
    factor = cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
    solved = cho_solve(factor, np.vstack([gradients, mean_gradient]).T, overwrite_b=True, check_finite=False).T
    own, mean = solved[:-1], solved[-1]
    others = (records * mean - own) / (records - 1)
    second = (own**2).sum(axis=1) / records
    third = 2 * (others * own).sum(axis=1)
    score: Floats = losses - (second + third) / rate
    return score
