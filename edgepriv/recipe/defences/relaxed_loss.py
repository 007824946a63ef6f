"""RelaxLoss."""

from edgepriv.recipe.defences.adversarial import ADVERSARIAL, of_method
from edgepriv.recipe.defences.base import Conflict, Defence, in_one_stage, in_stage

RELAXED_LOSS: Defence = Defence(
    name="relaxloss",
    place=40,
    title="RelaxLoss",
    option="--relax 0.6",
    source="Chen et al. 2022",
    what="holds the training loss at so many nats (RelaxLoss)",
    fields=("*.relax",),
    acts_in=in_stage(lambda stage: stage.relax > 0),
    conflicts=(
        Conflict(
            "TRADES and MART have a loss of their own, and so has RelaxLoss; free adversarial training takes its perturbations "
            "from the gradient of the loss, which RelaxLoss turns around. In one stage use one or the other: --relax 0, or "
            "--adv pgd",
            met=lambda recipe: (
                of_method(recipe, "trades", "mart", "free") and in_one_stage(recipe, RELAXED_LOSS, ADVERSARIAL)
            ),
        ),
    ),
    idle="--relax acts while training, and no stage trains here: use edgepriv train --relax",
)
