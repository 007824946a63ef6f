"""Difficulty calibration (Watson et al. 2022): how much lower the loss is than models without the example find it."""

import numpy as np

from edgepriv.audit.answers import Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.signals import loss
from edgepriv.audit.evidence import Evidence


def difficulty_calibration(evidence: Evidence) -> Floats:
    """Mean loss over the OUT reference models less the target's loss, in nats.

    Section 3.1: s_cal(h, (x, y)) = s(h, (x, y)) - E over g [s(g, (x, y))], with s the negative loss and g trained
    without x. A candidate without an OUT model takes the average candidate's mean.

    Args:
        evidence: with reference models.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: without reference models, or where each was trained on every candidate.
    """
    references = evidence.references
    if references is None:
        raise Unavailable("needs reference models")
    out = references.out
    count = out.sum(axis=0)
    if not count.any():
        raise Unavailable("every reference model was trained on every candidate")
    usual = np.where(out, -np.logaddexp(0.0, -references.confidence), 0.0).sum(axis=0) / np.maximum(count, 1)
    usual = np.where(count > 0, usual, usual[count > 0].mean())
    calibrated: Floats = loss(evidence.target) - usual
    return calibrated
