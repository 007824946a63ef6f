"""Differentially private training: clipped gradients of single examples, with noise on their sum (Abadi et al. 2016)."""

from typing import Any

from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.training.dp import add_clipped_gradients, add_noise, refuse_unsupported
from edgepriv.training.dp_draws import repeatable
from edgepriv.training.dp_plan import Plan, later_plan, of_a_person, plan_of
from edgepriv.training.held import held_by
from edgepriv.training.objectives.base import Asked, Batch, Ground, Objective

_AT_ONCE = 4096
"""Examples and copies of a batch that are in memory as the network sees them; it accumulates their gradients."""
_TRIED = 1.0, 1e-5
"""Noise multiplier and delta of a rehearsal, which promises nothing."""


def objective(asked: Asked) -> Objective:
    """The recipe's epsilon, spent over the epochs of the stage, or its noise.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    dp, stage = asked.recipe.dp, asked.settings
    draws = None if dp.seed is None else repeatable(dp.seed, asked.stage)

    def planned(members: int) -> Plan:
        if asked.brief:
            noise, delta = _TRIED
            return Plan(noise, dp.clip, 1.0, delta, members, 1, copies=dp.augmentations)
        if asked.stage != "train":
            return later_plan(asked.recipe, asked.stage, members)
        return plan_of(dp, stage, members)

    def gradient(batch: Batch) -> tuple[Tensor, Tensor]:
        network, x = batch.classifier.network, batch.classifier.normalised(batch.x)
        return add_clipped_gradients(network, batch.weights, x, batch.y, planned(batch.members))

    def finished(network: nn.Module, members: int) -> None:
        add_noise(network, planned(members), draws)

    def facts(members: int, epochs: int) -> dict[str, Any]:
        # When an early stop comes depends on the weights, and the bounds hold for a number of steps that is fixed before.
        plan = planned(members)
        spent = of_a_person(plan.spent(stage.epochs if stage.patience is not None else epochs), asked.records)
        stopped = {"steps_taken": epochs * plan.steps_per_epoch} if stage.patience and epochs < stage.epochs else {}
        return spent | stopped | {"not_covered": _not_covered(asked)}

    def refuse(ground: Ground) -> None:
        if dp.augmentations > 1 and len(asked.input_shape) != 3:
            raise UserError(
                f"--dp-augmentations {dp.augmentations} takes the mean over augmented copies, and only images are augmented: "
                "leave it out"
            )
        refuse_unsupported(ground.network, held_by(ground.network, stage).modules)
        planned(ground.members)

    return Objective(
        gradient=gradient,
        part=max(1, _AT_ONCE // dp.augmentations),
        finished=finished,
        copies=dp.augmentations,
        batches=lambda members: planned(members).batches(draws),
        draws=draws,
        secret=draws is None,
        facts=facts,
        refuse=refuse,
        title=f"DP, noise {dp.noise:g}" if dp.epsilon is None else f"DP, epsilon {dp.epsilon:g}",
        remedy="less --dp-noise" if dp.epsilon is None else "a larger --dp-epsilon",
    )


def _not_covered(asked: Asked) -> list[str]:
    """What is known of the members without having been accounted for, and what the proof rests on."""
    recipe = asked.recipe
    encoding = "the categories, ranges, means and deviations of the table's columns, which were learnt from the members"
    public = f"what the weights of {recipe.start.file} know of the members, if they were trained on any"
    given = f"what the weights that {recipe.model.name} brings along know of the members, if they were trained on any"
    manifest = (
        "the number of members, their classes and how often the model is right about them, which the manifest says"
    )
    seed = f"an attacker who knows the seed of the noise ({recipe.dp.seed})"
    normalisation = "the normalisation that was given, where it was computed from the members"
    others = (
        "the choice of hyperparameters by other trainings on the same members, nor any other model that is made of them: what "
        "all of these spend adds up"
    )
    same_base = "other files that are fine-tuned from the same private checkpoint: what each spends after it adds up"
    return [
        *[encoding] * asked.encoded,
        *[public] * recipe.start.active,
        *[given] * asked.trained,
        *[normalisation] * (recipe.model.mean is not None or recipe.model.std is not None),
        manifest,
        others,
        *[same_base] * (asked.stage != "train"),
        *[seed] * (recipe.dp.seed is not None),
    ]
