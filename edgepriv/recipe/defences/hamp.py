"""HAMP: training towards answers of high entropy."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.defences.relaxed_loss import RELAXED_LOSS
from edgepriv.recipe.defences.smoothing import SMOOTHING
from edgepriv.recipe.option import Option
from edgepriv.recipe.stages import InStages

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


class Hamp(InStages):
    """HAMP (Chen & Pattabiraman 2024). ``entropy``: gamma, that of each soft label as a share of log K; 0 for no HAMP.
    ``regularizer``: alpha, the weight of the answers' entropy, as the authors' program counts it (``objectives.hamp``)."""

    entropy: Annotated[
        float,
        Option(
            "HAMP: train on soft labels whose entropy is this share of the largest there is (0.5).",
            "Defences",
            ("train", "harden"),
            name="hamp",
            default="off",
        ),
    ] = Field(0.0, ge=0, lt=1)
    regularizer: Annotated[
        float,
        Option(
            "HAMP: weight of the entropy of the model's own answers.",
            "Defences",
            ("train", "harden"),
            name="hamp_regularizer",
        ),
    ] = Field(0.001, ge=0)


def _acts_in(recipe: "Recipe", stage: str) -> bool:
    own = recipe.own(Hamp)
    return own.entropy > 0 and stage in own.stages


HAMP: Defence = Defence(
    name="hamp",
    place=42,
    title="HAMP",
    option="--hamp 0.5",
    source="Chen & Pattabiraman 2024",
    what="trains on soft labels whose entropy is so large a share of the largest there is, and rewards answers of high entropy "
    "(`--hamp-regularizer`), in every stage. What the paper does to the answers at test time is `--regenerate rank`: every "
    "answer has the same values, in its own order",
    section=Hamp,
    fields=("hamp",),
    acts_in=_acts_in,
    conflicts=(
        Conflict(
            "the weight of HAMP's entropy has no effect without its soft labels: pass --hamp 0.5",
            details=("hamp.regularizer",),
            without=lambda recipe: recipe.own(Hamp).entropy == 0,
        ),
        Conflict(
            "HAMP and RelaxLoss both replace the loss: in one stage use one or the other",
            beside=("relaxloss",),
            met=lambda recipe: in_one_stage(recipe, HAMP, RELAXED_LOSS),
        ),
        Conflict(
            "HAMP chooses how far each label is spread, and so does label smoothing: in one stage use one or the other",
            beside=("smoothing",),
            met=lambda recipe: in_one_stage(recipe, HAMP, SMOOTHING),
        ),
        Conflict(
            "the teacher of noisy members needs one label for each example, and HAMP spreads it: use one or the other",
            beside=("noise",),
        ),
        Conflict(
            "differentially private training clips the gradient of each example's cross-entropy, and HAMP replaces that loss: "
            "use --label-smoothing beside --dp-epsilon, or one of the two alone",
            beside=("dp",),
        ),
        Conflict(
            "TRADES and MART have a loss of their own, and so has HAMP; free adversarial training takes its perturbations from "
            "the gradient of the loss, which HAMP's entropy turns towards certain answers. In one stage use one or the other: "
            "--adv pgd goes with --hamp",
            met=lambda recipe: of_method(recipe, "trades", "mart", "free") and in_one_stage(recipe, HAMP, ADVERSARIAL),
        ),
    ),
    idle="--hamp acts while training, and no stage trains here: use edgepriv train --hamp",
    done="HAMP",
)
