"""Adversarial weight perturbation: training where the loss stays low around the weights."""

from typing import Annotated

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.option import Option
from edgepriv.recipe.stages import InStages


class Awp(InStages):
    """``gamma``: length of the perturbation of each layer's weights, as a share of their own; 0 for none."""

    gamma: Annotated[
        float,
        Option(
            "Adversarial weight perturbation, of this share of each layer's length (0.005 to 0.01 is usual).",
            "Defences",
            ("train", "harden"),
            name="awp",
            default="off",
        ),
    ] = Field(0.0, ge=0, lt=1)


AWP: Defence = Defence(
    name="awp",
    place=21,
    title="adversarial weight perturbation",
    option="--awp 0.01",
    source="Wu, Xia & Wang 2020",
    what="each step takes the gradient where the weights are a little worse, which narrows the gap between the (robust) "
    "accuracy on members and on others; without adversarial training it is sharpness-aware minimisation (Foret et al. 2021)",
    section=Awp,
    fields=("awp",),
    acts_in=lambda recipe, stage: recipe.own(Awp).gamma > 0 and stage in recipe.own(Awp).stages,
    conflicts=(
        Conflict(
            "differentially private training clips the gradient of each example, and adversarial weight perturbation takes a "
            "second one of the whole batch, which its epsilon does not cover: use one or the other",
            beside=("dp",),
        ),
        Conflict(
            "--adv free takes its next perturbation from the gradient that updates the weights, and --awp moves the weights in "
            "between: use one or the other",
            met=lambda recipe: of_method(recipe, "free") and in_one_stage(recipe, AWP, ADVERSARIAL),
        ),
    ),
    idle="--awp acts while training, and no stage trains here: use edgepriv train --awp",
    done="adversarial weight perturbation",
)
