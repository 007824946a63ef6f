"""What is checked, said and made before stages run: layers and objectives that cannot work, slow attacks, the own pipeline."""

from collections.abc import Sequence

import torch
from torch import nn

from edgepriv.data import Dataset, Split, TrainingData
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.models.scripts import Script
from edgepriv.project import warn
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import DEFENCES
from edgepriv.training.batch_dependent import slowness, why_not_in_one_pass
from edgepriv.training.device import device_of
from edgepriv.training.examples import Examples
from edgepriv.training.held import held_by, refuse_unmatched_rates
from edgepriv.training.objectives import Asked, Ground, objectives_of
from edgepriv.training.pipeline import Pipeline, pipeline_of
from edgepriv.training.task import Task


def own_pipeline(
    script: Script | None,
    classifier: Classifier,
    recipe: Recipe,
    stages: Sequence[str],
    dataset: Dataset,
    split: Split,
) -> Pipeline | None:
    """The user's batches and loss on the split's members.

    Args:
        script: of the user; None without one.
        classifier: that is trained.
        recipe: names the script that it is trained by.
        stages: that are to run, by name.
        dataset: the examples.
        split: whose members are trained on.

    Returns:
        None where the recipe names no script or no stage uses it.

    Raises:
        UserError: where the recipe names a script and there is none here, where the script's hooks do not do what they are
            said to, and for a defence that has batches or a loss of its own.
    """
    later = [name for name in stages if name != "train"]
    if not recipe.pipeline.active or not later:
        return None
    if script is None:
        raise UserError(
            f"this model is trained on the batches of {recipe.pipeline.script}: name that script with --trainer"
        )
    for objective in (each for name in later for each in objectives_of(Asked(recipe, name, dataset.input_shape))):
        taken = {
            "loader": objective.batches is not None or objective.retrained is not None,
            "loss": objective.loss is not None or objective.gradient is not None,
        }
        for hook in (own for own in recipe.pipeline.hooks if taken[own]):
            raise UserError(
                f"{DEFENCES[objective.name].title} has a {hook} of its own, and so has {recipe.pipeline.script}: leave out one"
            )
    augmenting = [name for name in later if getattr(recipe, name).augment != "none"]
    if "loader" in recipe.pipeline.hooks and augmenting:
        raise UserError(
            f"the loader of {recipe.pipeline.script} augments what it yields, and the stage {augmenting[0]} asks for augment = "
            f"{getattr(recipe, augmenting[0]).augment!r}: leave out one"
        )
    own = split.members
    groups = None if dataset.groups is None else dataset.groups[own]
    data = TrainingData(dataset.inputs(own).copy(), dataset.y[own].copy(), dataset.num_classes, groups)
    return pipeline_of(script, data, classifier.network, seed=recipe.seed, device=device_of(recipe.device))


def refuse_unmatched_layers(network: nn.Module, recipe: Recipe, stages: Sequence[str]) -> None:
    """Refuse a stage that names layers which a network does not have.

    Args:
        network: to be trained.
        recipe: settings of each stage.
        stages: their names.

    Raises:
        UserError: for such a pattern, for more layers than there are, and where a stage would train nothing.
    """
    for name in stages:
        held_by(network, getattr(recipe, name))
        refuse_unmatched_rates(network, getattr(recipe, name))


def refuse_idle_augmentation(recipe: Recipe, stages: Sequence[str], input_shape: tuple[int, ...]) -> None:
    """Refuse augmentation of what is no picture, which would be left as it is without a word.

    Args:
        recipe: settings of each stage.
        stages: their names.
        input_shape: of one example.

    Raises:
        UserError: for a stage that asks for it.
    """
    for how in (getattr(recipe, name).augment for name in stages):
        if how != "none" and len(input_shape) != 3:
            raise UserError(
                f"augment {how!r} moves pictures, and an input of shape {list(input_shape)} is none: leave it out"
            )


def refuse_unfit_objectives(
    classifier: Classifier, recipe: Recipe, stages: Sequence[str], dataset: Dataset, split: Split
) -> None:
    """Refuse a stage that cannot work.

    Args:
        classifier: to be trained.
        recipe: settings of each stage.
        stages: their names.
        dataset: the examples.
        split: who is a member, who is held out.

    Raises:
        UserError: of an objective that cannot work with this network, or with this many classes or examples.
    """
    ground = Ground(classifier.network, dataset.num_classes, len(split.members), len(split.holdout))
    for name in stages:
        for objective in objectives_of(Asked(recipe, name, dataset.input_shape)):
            objective.refuse(ground)


def warn_of_slow_attack(classifier: Classifier, members: Examples, task: Task) -> None:
    """Say before training starts how much longer it takes because each perturbation asks for every example by itself.

    Args:
        classifier: to be trained; left in its mode.
        members: that are trained on.
        task: an adversarial one.
    """
    x, mode = members.batch(torch.arange(min(task.stage.batch_size, len(members))))[0], classifier.training
    why = why_not_in_one_pass(classifier.eval(), x)
    if why:
        times = slowness(classifier, x, task.stage.batch_size)
        warn(
            f"the answers of this network depend on the batch, so adversarial training attacks each example by itself. torch "
            f"cannot do that in one pass here ({why}), so a step of the attack takes about {times:.0f} times as long as for "
            f"other networks"
        )
    classifier.train(mode)
