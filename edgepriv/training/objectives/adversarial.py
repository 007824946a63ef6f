"""Adversarial training: the loss on inputs that PGD or FGSM has perturbed (Madry et al. 2018; Wong, Rice & Kolter 2020)."""

from dataclasses import replace

from edgepriv.training.objectives.base import Asked, Batch, Objective
from edgepriv.training.pgd import Budget, budget_of, perturbed


def objective(asked: Asked) -> Objective:
    """Within the recipe's budget."""
    budget = budget_of(asked.recipe.adversary, asked.input_shape)
    return against(replace(budget, steps=1) if asked.brief else budget)


def against(budget: Budget) -> Objective:
    """Train on perturbations within ``budget``."""

    def attacked(batch: Batch) -> Batch:
        if not len(batch.x):  # a batch that is drawn example by example may be empty
            return batch
        with batch.frozen() as logits_of:
            return replace(batch, x=perturbed(logits_of, batch.x, batch.y, budget, batch.generator))

    return Objective(
        prepared=attacked,
        budget=budget,
        title=f"{budget.norm} eps {budget.eps:.3g}, {budget.steps} steps",
        remedy="a smaller --eps",
    )
