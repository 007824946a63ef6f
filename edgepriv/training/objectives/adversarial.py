"""Adversarial training: the loss on inputs that PGD or FGSM has perturbed (Madry et al. 2018; Wong, Rice & Kolter 2020)."""

from dataclasses import replace

from edgepriv.recipe.defences.adversarial import ADVERSARIAL
from edgepriv.training.objectives.base import Asked, Batch, Objective
from edgepriv.training.pgd import Budget, budget_of, noisy_fgsm, perturbed


def objective(asked: Asked) -> Objective:
    """Within the recipe's budget.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    return against(budget_in(asked), warmup_in(asked), noisy=asked.recipe.adversary.method == "nfgsm")


def budget_in(asked: Asked) -> Budget:
    """The recipe's budget.

    Args:
        asked: which stage of which recipe.

    Returns:
        The budget; of one step in a rehearsal.
    """
    budget = budget_of(asked.recipe.adversary, asked.input_shape)
    return replace(budget, steps=1) if asked.brief else budget


def warmup_in(asked: Asked) -> int:
    """Epochs over which the budget grows in a stage: the recipe's in the first that trains against perturbations. A later one
    begins with weights that already hold out, and would unlearn it.

    Args:
        asked: which stage of which recipe.

    Returns:
        0 in the later ones.
    """
    return asked.recipe.adversary.warmup if asked.stage in ADVERSARIAL.stages_in(asked.recipe)[:1] else 0


def against(budget: Budget, warmup: int = 0, *, noisy: bool = False) -> Objective:
    """Train on perturbations.

    Args:
        budget: within which they lie.
        warmup: epochs over which it grows to its size.
        noisy: those of N-FGSM.

    Returns:
        The objective.
    """

    def attacked(batch: Batch) -> Batch:
        if not len(batch.x):  # a batch that is drawn example by example may be empty
            return batch
        now = at_epoch(budget, warmup, batch.epoch)
        attack = noisy_fgsm if noisy else perturbed
        with batch.frozen() as logits_of:
            return replace(batch, x=attack(logits_of, batch.x, batch.y, now, batch.generator))

    return Objective(
        prepared=attacked,
        budget=budget,
        title=f"{budget.norm} eps {budget.eps:.3g}, {budget.steps} steps",
        remedy="a smaller --eps",
    )


def at_epoch(budget: Budget, warmup: int, epoch: int) -> Budget:
    """The budget of an epoch, which grows to its size.

    Args:
        budget: in full.
        warmup: epochs until then.
        epoch: counted from 0.

    Returns:
        Its share (epoch + 1) / (warmup + 1) while that is below 1, then all of it.
    """
    share = min(1.0, (epoch + 1) / (warmup + 1))
    return budget if share == 1 else replace(budget, eps=share * budget.eps, step=share * budget.step)
