"""A signal less its class's threshold, learnt on the shadow model (Song & Mittal 2021)."""

from collections.abc import Callable

import numpy as np

from edgepriv.audit.answers import Floats, Outputs
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.statistics import best_threshold


def classwise(signal: Callable[[Outputs], Floats]) -> Callable[[Evidence], Floats]:
    """The attack score(x, y) = signal(x, y) - threshold_y.

    threshold_y has the best balanced accuracy on the shadow model's examples of class y. A class of which the shadow
    model has no member or no non-member takes the threshold of all classes together.

    Args:
        signal: a model's answers -> float64 [n], higher for members.

    Returns:
        Evidence with a shadow model -> float64 [n]; it raises Unavailable without one.
    """

    def run(evidence: Evidence) -> Floats:
        if evidence.shadow is None:
            raise Unavailable("needs a shadow model")
        member, labels = evidence.shadow.member, evidence.shadow.outputs.labels
        known = signal(evidence.shadow.outputs)
        thresholds = np.full(evidence.target.probabilities.shape[1], best_threshold(known, member))
        for label in range(len(thresholds)):
            of_class = labels == label
            if 0 < member[of_class].sum() < of_class.sum():
                thresholds[label] = best_threshold(known[of_class], member[of_class])
        margins: Floats = signal(evidence.target) - thresholds[evidence.target.labels]
        return margins

    return run
