"""Label smoothing: training on labels that leave the other classes a share."""

from typing import Annotated

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.defences.relaxed_loss import RELAXED_LOSS
from edgepriv.recipe.option import Option
from edgepriv.recipe.stages import InStages


class Smoothing(InStages):
    """``share``: of each label that is spread evenly over all classes; 0 for none."""

    share: Annotated[
        float,
        Option(
            "Label smoothing: share of each label that is spread over all classes.",
            "Defences",
            ("train", "harden"),
            name="label_smoothing",
            default="off",
        ),
    ] = Field(0.0, ge=0, lt=1)


SMOOTHING: Defence = Defence(
    name="smoothing",
    title="label smoothing",
    option="--label-smoothing 0.1",
    source="Szegedy et al. 2016",
    what="trains on labels of which a share is spread evenly over all classes, in every stage. It can raise the leakage "
    "instead: audit the file",
    section=Smoothing,
    fields=("smoothing",),
    acts_in=lambda recipe, stage: recipe.own(Smoothing).share > 0 and stage in recipe.own(Smoothing).stages,
    conflicts=(
        Conflict(
            "the teacher of noisy members needs one label for each example, and label smoothing spreads it: use one or the "
            "other",
            beside=("noise",),
        ),
        Conflict(
            "RelaxLoss needs one label for each example, and label smoothing spreads it: in one stage use one or the other",
            beside=("relaxloss",),
            met=lambda recipe: in_one_stage(recipe, SMOOTHING, RELAXED_LOSS),
        ),
        Conflict(
            "MART weighs each example by the probability of its one label, which label smoothing spreads: in one stage use one "
            "or the other (--adv trades goes with it)",
            met=lambda recipe: of_method(recipe, "mart") and in_one_stage(recipe, SMOOTHING, ADVERSARIAL),
        ),
    ),
    idle="--label-smoothing acts while training, and no stage trains here: use edgepriv train --label-smoothing",
    done="label smoothing",
)
