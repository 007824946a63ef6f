"""Retraining on members with noise, beside a teacher's answers to them (Kassa, Adi & Bouhaddi, section 5.1)."""

from typing import Any

from edgepriv.training.examples import Examples
from edgepriv.training.noise import noisy_members, refuse_unreachable
from edgepriv.training.objectives.base import Asked, Objective, Retraining


def objective(asked: Asked) -> Objective:
    """The recipe's noise.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    noise, seed, fixed = asked.recipe.noise, asked.recipe.seed, asked.recipe.adversary.fixed

    def retrained(given: Retraining) -> tuple[Examples, dict[str, Any]]:
        return noisy_members(given.teacher, given.members, noise, seed=seed, quiet=given.quiet, fixed=fixed)

    return Objective(
        retrained=retrained,
        teacher_share=noise.alpha,
        refuse=lambda ground: refuse_unreachable(noise, ground.classes),
    )
