"""Adversarial training."""

from typing import TYPE_CHECKING

from edgepriv.recipe.defences.base import Defence

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


def _on_perturbed_inputs(recipe: "Recipe", stage: str) -> bool:
    return recipe.adversary.method != "none" and getattr(recipe, stage).adversarial


ADVERSARIAL = Defence(
    name="adversarial",
    title="adversarial training",
    option="--adv pgd",
    source="Madry et al. 2018",
    what="adversarial training (also `fgsm`, `pgd-l2`)",
    fields=("adversary", "*.adversarial"),
    stage="robust",
    acts_in=_on_perturbed_inputs,
    unused={"adversary.steps": lambda recipe: recipe.adversary.method == "fgsm"},
    done="adversarial training",
)
