"""RelaxLoss."""

from edgepriv.recipe.defences.base import Defence, in_stage

RELAXED_LOSS = Defence(
    name="relaxloss",
    place=40,
    title="RelaxLoss",
    option="--relax 0.6",
    source="Chen et al. 2022",
    what="holds the training loss at so many nats (RelaxLoss)",
    fields=("*.relax",),
    acts_in=in_stage(lambda stage: stage.relax > 0),
    idle="--relax acts while training, and no stage trains here: use edgepriv train --relax",
)
