"""Attacks that score what repeated questions about each candidate showed (``Evidence.queried``)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgepriv.audit.answers import Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.shadow_mlp import learnt_by_mlp
from edgepriv.audit.boundary import noise_distance
from edgepriv.audit.evidence import Evidence, Queried


def augmentation(evidence: Evidence) -> Floats:
    """Share of the variants of each candidate that are classified right (Choquette-Choo et al. 2021).

    Args:
        evidence: with ``queried["augmentation"]``.

    Returns:
        float64 [n] in [0, 1]; higher for members.

    Raises:
        Unavailable: where the model was not asked for it.
    """
    share_right: Floats = of_queries(evidence, "augmentation").target.mean(axis=1)
    return share_right


def augmentation_mlp(evidence: Evidence) -> Floats:
    """P(member) by an MLP on which variants are classified right, learnt on the shadow model (ibid.).

    Args:
        evidence: with ``queried["augmentation"]`` of the target and of a shadow model.

    Returns:
        float64 [n] in [0, 1].

    Raises:
        Unavailable: where the models were not asked for it, or there is no shadow model.
    """
    return _learnt(evidence, "augmentation")


def noise(evidence: Evidence) -> Floats:
    """Distance to the boundary by the noise that the label survives; see ``boundary.noise_distance``.

    Args:
        evidence: with ``queried["noise"]``.

    Returns:
        float64 [n], in input units; higher for members.

    Raises:
        Unavailable: where the model was not asked for it.
    """
    return noise_distance(of_queries(evidence, "noise").target)


def boundary(evidence: Evidence) -> Floats:
    """Distance to the boundary by searching for it with labels; see ``boundary.boundary_distance``.

    Args:
        evidence: with ``queried["boundary"]``.

    Returns:
        float64 [n], in input units; higher for members.

    Raises:
        Unavailable: where the model was not asked for it.
    """
    return of_queries(evidence, "boundary").target


def worst_case_confidence(evidence: Evidence) -> Floats:
    """Lowest log-odds of the true label over all tries to perturb the input (Song, Shokri & Mittal 2019).

    Args:
        evidence: with ``queried["worst-case"]``.

    Returns:
        float64 [n]; higher for members.

    Raises:
        Unavailable: where the model was not asked for it.
    """
    confidence: Floats = of_queries(evidence, "worst-case").target.min(axis=1)
    return confidence


def loss_trajectory(evidence: Evidence) -> Floats:
    """P(member) by an MLP on losses during distillation, learnt on the shadow model (Liu et al. 2022).

    The losses are those of a copy after each epoch of its distillation, and of the model itself at last.

    Args:
        evidence: with ``queried["trajectory"]`` of the target and of a shadow model.

    Returns:
        float64 [n] in [0, 1].

    Raises:
        Unavailable: where the models were not asked for it, or there is no shadow model.
    """
    return _learnt(evidence, "trajectory")


def on_adversarial(run: Callable[..., Floats]) -> Callable[..., Floats]:
    """The same attack, on nothing but answers to perturbed candidates.

    Args:
        run: an attack, Evidence -> float64 [n].

    Returns:
        The attack; it raises Unavailable on evidence that is not ``adversarial``.
    """

    def adversarial(evidence: Evidence, **parameters: Any) -> Floats:
        if not evidence.adversarial:
            raise Unavailable("needs answers to perturbed candidates")
        return run(evidence, **parameters)

    return adversarial


def on_copies(run: Callable[..., Floats]) -> Callable[..., Floats]:
    """The same attack on each augmented copy of the candidates: the mean of its scores.

    As the authors of LiRA do with its likelihood ratios; of RMIA it is the mean of the logarithms of ratios.

    Args:
        run: an attack, Evidence -> float64 [n].

    Returns:
        The attack; it raises Unavailable where there are no copies.
    """

    def on_each(evidence: Evidence, **parameters: Any) -> Floats:
        if not evidence.copies:
            raise Unavailable(evidence.lacks.get("augmentation", "the models were not asked about augmented copies"))
        scores: Floats = np.mean([run(copy, **parameters) for copy in evidence.copies], axis=0)
        return scores

    return on_each


def of_queries(evidence: Evidence, what: str) -> Queried:
    """What repeated questions showed.

    Args:
        evidence: of the attack.
        what: a key of ``Evidence.queried``.

    Returns:
        The answers of the target, and of the shadow model if there is one.

    Raises:
        Unavailable: where they are not there, with the reason if it is known.
    """
    if what not in evidence.queried:
        raise Unavailable(evidence.lacks.get(what, f"the model was not asked for {what}"))
    return evidence.queried[what]


def learnt_on_shadow(known: Floats, asked: Floats, evidence: Evidence) -> Floats:
    """P(member) by the MLP of ``shadow_mlp`` on other features.

    Args:
        known: float64 [s, F], of the shadow model's examples.
        asked: float64 [n, F], of the candidates.
        evidence: with a shadow model, and the seed.

    Returns:
        float64 [n] in [0, 1].

    Raises:
        Unavailable: without a shadow model.
    """
    if evidence.shadow is None:
        raise Unavailable("needs a shadow model")
    mean, spread = known.mean(axis=0), known.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    # Standardised by the shadow model's mean and spread and kept within 5, as an MLP wants its inputs.
    known, asked = (np.clip((values - mean) / spread, -5, 5) for values in (known, asked))
    return learnt_by_mlp(known, evidence.shadow.member, asked, evidence.seed)


def _learnt(evidence: Evidence, what: str) -> Floats:
    asked = of_queries(evidence, what)
    if asked.shadow is None:
        raise Unavailable("needs a shadow model")
    return learnt_on_shadow(asked.shadow, asked.target, evidence)
