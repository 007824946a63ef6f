"""Adversarial training."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edgepriv.recipe import written
from edgepriv.recipe.defences.base import Defence
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


class Adversary(Section):
    """The perturbations trained and measured against, in input units ([0, 1]); ``None`` resolves by input shape."""

    method: Annotated[
        Literal["none", "fgsm", "pgd"],
        Option(
            "Adversarial training: none, fgsm, pgd or pgd-l2.",
            "Defences",
            ("train", "harden"),
            name="adv",
            kind=str,
            choices=tuple(written.ADVERSARIES),
            noun="adversarial training",
            sets=lambda value: written.ADVERSARIES[value],
        ),
    ] = "none"
    norm: Annotated[
        Literal["linf", "l2"],
        Option(
            "Norm of the perturbations: linf or l2.", "Audit", ("audit",), default="the model's own training, else linf"
        ),
    ] = "linf"
    eps: Annotated[
        float | None,
        Option(
            "Radius of the perturbations, in input units ([0, 1]).",
            "Defences",
            ("train", "harden"),
            default="0.1 for grey images, 8/255 for colour, 0.05 for tables; 0.5 in L2",
        ),
        Option(
            "Radius of the perturbations, in input units ([0, 1]).",
            "Audit",
            ("audit",),
            default="the model's own training, else as edgepriv harden has it",
        ),
    ] = Field(None, gt=0)
    step: float | None = Field(None, gt=0)
    steps: Annotated[
        int,
        Option("Gradient steps of PGD in training.", "Defences", ("train", "harden")),
    ] = Field(7, ge=1)


def _on_perturbed_inputs(recipe: "Recipe", stage: str) -> bool:
    return recipe.adversary.method != "none" and getattr(recipe, stage).adversarial


ADVERSARIAL = Defence(
    name="adversarial",
    place=20,
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
