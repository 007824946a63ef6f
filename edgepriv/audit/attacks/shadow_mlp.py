"""A network that learns on a shadow model to tell members' confidence vectors from non-members'."""

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from edgepriv.audit.answers import Bools, Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.evidence import Evidence

HIDDEN, EPOCHS, PATIENCE = 64, 100, 10
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-2


def raw(probabilities: npt.NDArray[np.floating]) -> Floats:
    """The confidence vector as it is.

    Args:
        probabilities: float [n, K].

    Returns:
        The same as float64 [n, K].
    """
    return probabilities.astype(np.float64)


def shadow_mlp(evidence: Evidence, features: Callable[[npt.NDArray[np.floating]], Floats] = raw) -> Floats:
    """P(member) in [0, 1] by an MLP with one hidden layer on the raw confidence vector (Famili & Lao 2023, 4.1.3).

    The vector is neither sorted nor joined with the label, as in the paper. The paper leaves width and optimiser
    open: 64 ReLU units, Adam, at most 100 epochs, fewer once the loss stands still for 10. No part of the shadow data
    is held out to stop earlier: membership is so noisy a label that on 1,000 examples this stops within a few epochs
    and misses most of the leak; weight decay guards against overfitting instead.

    Args:
        evidence: with a shadow model.
        features: probabilities [n, K] -> float64 [n, F], what the network sees of them.

    Returns:
        float64 [n] in [0, 1].

    Raises:
        Unavailable: without a shadow model, or with one of another number of classes.
    """
    if evidence.shadow is None:
        raise Unavailable("needs a shadow model")
    known, target = evidence.shadow.outputs.probabilities, evidence.target.probabilities
    if known.shape[1] != target.shape[1]:
        raise Unavailable(f"the shadow model has {known.shape[1]} classes, the target {target.shape[1]}")
    return learnt_by_mlp(features(known), evidence.shadow.member, features(target), evidence.seed)


def learnt_by_mlp(known: Floats, member: Bools, asked: Floats, seed: int) -> Floats:
    """P(member) by the MLP of ``shadow_mlp``.

    Equal rows score exactly alike: computed row by row, they would differ by rounding, by their place among the others.

    Args:
        known: float64 [s, F], what it is trained on.
        member: bool [s], both values present.
        asked: float64 [n, F].
        seed: of its weights and of the order of examples.

    Returns:
        float64 [n] in [0, 1].
    """
    network = MLPClassifier(
        hidden_layer_sizes=(HIDDEN,),
        learning_rate_init=LEARNING_RATE,
        alpha=WEIGHT_DECAY,
        max_iter=EPOCHS,
        n_iter_no_change=PATIENCE,
        random_state=seed,
    )
    # Matrices this small only lose by being shared out to threads, badly so on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(1):
        # The bound on epochs is meant; reaching it is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(known, member)
        distinct, place = np.unique(asked, axis=0, return_inverse=True)
        chance: Floats = network.predict_proba(distinct)[:, 1][place.reshape(-1)]
    return chance
