"""Posterior flattening."""

from edgepriv.recipe.defences.base import Defence, in_stage

FLATTENING = Defence(
    name="flattening",
    place=30,
    title="posterior flattening",
    option="--flatten 1.0",
    source="Drif & Berrabah 2025, eq. 7-8",
    what="members and a holdout of non-members should get the same confidence",
    fields=("*.flatten",),
    acts_in=in_stage(lambda stage: stage.flatten > 0),
    idle="--flatten acts in quantization-aware fine-tuning, which has no epochs here: give --bits and --qat-epochs",
    stacked=False,  # draws the holdout of one model
)
