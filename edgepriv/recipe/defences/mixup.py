"""Mixup: training on mixtures of two members."""

from typing import Annotated

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.defences.relaxed_loss import RELAXED_LOSS
from edgepriv.recipe.option import Option
from edgepriv.recipe.stages import InStages


class Mixup(InStages):
    """``alpha``: both parameters of the Beta distribution that the share of each mixture is drawn from; 0 for none."""

    alpha: Annotated[
        float,
        Option(
            "Mixup: train on mixtures of two members, with a share drawn from Beta(alpha, alpha).",
            "Defences",
            ("train", "harden"),
            name="mixup",
            default="off",
        ),
    ] = Field(0.0, ge=0)


MIXUP: Defence = Defence(
    name="mixup",
    title="mixup",
    option="--mixup 0.2",
    source="Zhang et al. 2018",
    what="trains on mixtures of two members and of their labels, in every stage",
    section=Mixup,
    fields=("mixup",),
    acts_in=lambda recipe, stage: recipe.own(Mixup).alpha > 0 and stage in recipe.own(Mixup).stages,
    conflicts=(
        Conflict(
            "differential privacy bounds what each example alone does to a step, and mixup mixes the examples of a batch: use "
            "one or the other",
            beside=("dp",),
        ),
        Conflict(
            "the teacher of noisy members needs one label for each example, and mixup mixes two: use one or the other",
            beside=("noise",),
        ),
        Conflict(
            "RelaxLoss needs one label for each example, and mixup mixes two: in one stage use one or the other",
            beside=("relaxloss",),
            met=lambda recipe: in_one_stage(recipe, MIXUP, RELAXED_LOSS),
        ),
        Conflict(
            "TRADES and MART compare the answers to each example and to its perturbation, free adversarial training perturbs "
            "the same batch again, and mixup mixes two examples: in one stage use one or the other (--adv pgd goes with it)",
            met=lambda recipe: of_method(recipe, "trades", "mart", "free") and in_one_stage(recipe, MIXUP, ADVERSARIAL),
        ),
    ),
    idle="--mixup acts while training, and no stage trains here: use edgepriv train --mixup",
    stacked=False,  # draws the pairs of one model
    done="mixup",
)
