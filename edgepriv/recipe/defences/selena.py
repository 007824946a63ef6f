"""SELENA: distillation from sub-models that did not see what they answer to."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage
from edgepriv.recipe.defences.extra import EXTRA
from edgepriv.recipe.defences.hamp import HAMP
from edgepriv.recipe.defences.relaxed_loss import RELAXED_LOSS
from edgepriv.recipe.option import Option
from edgepriv.recipe.section import Section

if TYPE_CHECKING:
    from edgepriv.recipe.recipe import Recipe


class Selena(Section):
    """SELENA (Tang et al. 2022). ``sub_models``: K, 0 for no SELENA. ``unseen``: L, how many of them each member is kept
    from, and answered by."""

    sub_models: Annotated[
        int,
        Option(
            "SELENA: distil the model from so many sub-models (25), each member answered by those that did not see it.",
            "Defences",
            ("harden",),
            name="selena",
            default="off",
        ),
    ] = Field(0, ge=0)
    unseen: Annotated[
        int,
        Option("SELENA: how many sub-models each member is kept from.", "Defences", ("harden",), name="selena_unseen"),
    ] = Field(10, ge=1)


def _asked(recipe: "Recipe") -> bool:
    return recipe.own(Selena).sub_models > 0


def from_distillation_on(asked: Callable[["Recipe"], bool]) -> Callable[["Recipe", str], bool]:
    """``acts_in`` of a defence that distils: the stage ``distilled`` and those after it see answers, and no label of a member.

    Args:
        asked: whether a recipe asks for the defence.

    Returns:
        The same of a recipe and the name of one of its stages.
    """
    return lambda recipe, stage: asked(recipe) and recipe.distilled.epochs > 0 and stage not in ("train", "noisy")


def _lines(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"SELENA: {facts['sub_models']} sub-models of {facts['records_each']:,} members each; their answers to members "
        f"they did not see keep the label of {facts['share_label_kept']:.1%} (mean entropy {facts['mean_entropy']:.3g} nats)"
    ]


SELENA: Defence = Defence(
    name="selena",
    place=62,
    title="SELENA",
    option="--selena 25",
    source="Tang et al. 2022",
    what="trains so many sub-models, each without some of the members, and distils a new model from what those answer that did "
    "not see a member (`--selena-unseen 10`). Adaptive reference models repeat all of it, which takes so many times as long",
    section=Selena,
    fields=("selena",),
    stage="distilled",
    anew=True,
    asked=_asked,
    sub_models=lambda recipe: recipe.own(Selena).sub_models,
    acts_in=from_distillation_on(_asked),
    conflicts=(
        Conflict(
            "SELENA keeps each member from some of its sub-models and shows it to the others: --selena must be above "
            "--selena-unseen, such as --selena 25 --selena-unseen 10",
            met=lambda recipe: _asked(recipe) and recipe.own(Selena).sub_models <= recipe.own(Selena).unseen,
        ),
        Conflict(
            "--selena needs epochs of distillation: set distilled.epochs above 0",
            met=lambda recipe: _asked(recipe) and recipe.distilled.epochs == 0,
        ),
        Conflict(
            "how many sub-models a member is kept from has no effect without sub-models: pass --selena 25",
            details=("selena.unseen",),
            without=lambda recipe: not _asked(recipe),
        ),
        Conflict(
            "SELENA and noise on the members both retrain from new weights on answers of their own teachers: use one",
            beside=("noise",),
        ),
        Conflict(
            "SELENA trains on the soft answers of its sub-models; RelaxLoss and HAMP need the members' labels: in one stage "
            "use one or the other (--relax 0; for HAMP, a model that was trained without)",
            met=lambda recipe: in_one_stage(recipe, SELENA, RELAXED_LOSS) or in_one_stage(recipe, SELENA, HAMP),
        ),
        Conflict(
            "extra data have labels, and SELENA's members have the soft answers of its sub-models: in one stage use one or the "
            "other",
            met=lambda recipe: in_one_stage(recipe, SELENA, EXTRA),
        ),
        Conflict(
            "MART weighs each example by the probability of its one label, and SELENA's members have soft ones: use --adv pgd "
            "or trades",
            met=lambda recipe: of_method(recipe, "mart") and in_one_stage(recipe, SELENA, ADVERSARIAL),
        ),
    ),
    stacked=False,  # the sub-models of one model are trained one after another
    done="SELENA",
    facts="selena",
    terminal_lines=_lines,
)
