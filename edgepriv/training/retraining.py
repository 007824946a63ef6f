"""The start of a stage that trains new weights on members of its own making."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from edgepriv.data import Dataset
from edgepriv.models import Classifier
from edgepriv.models.bake import bake
from edgepriv.models.lsq_steps import load_state
from edgepriv.recipe import Recipe
from edgepriv.training.examples import Examples
from edgepriv.training.held import holding
from edgepriv.training.loop import fit
from edgepriv.training.objectives import Asked, Objective, Retraining, objectives_of
from edgepriv.training.pipeline import Pipeline
from edgepriv.training.starting import new_classifier
from edgepriv.training.task import task_of


def retraining_in(recipe: Recipe, stage: str, dataset: Dataset) -> Objective | None:
    """The objective of a stage that trains on members of its own making.

    Args:
        recipe: settings of the run.
        stage: its name.
        dataset: the examples.

    Returns:
        The objective; None where the stage trains on the split's members.
    """
    objectives = objectives_of(Asked(recipe, stage, dataset.input_shape))
    return next((each for each in objectives if each.retrained is not None), None)


def given_to(
    teacher: Classifier, members: Examples, holdout: Examples, dataset: Dataset, index: np.ndarray
) -> Retraining:
    """What such members are made of.

    Args:
        teacher: the classifier as it is before the stage.
        members: what it was trained on.
        holdout: of the split.
        dataset: whose public examples and persons count.
        index: int64 [N], the places of ``members`` in it.

    Returns:
        All but how a sub-model is trained.
    """
    units = None if dataset.groups is None else dataset.groups[index]
    public = None if dataset.public is None else torch.from_numpy(dataset.public.x)
    return Retraining(teacher, members, holdout, units, public)


def with_sub_models(
    given: Retraining, recipe: Recipe, stage: str, dataset: Dataset, validation: Examples, pipeline: Pipeline | None
) -> Retraining:
    """The same, where sub-models are trained as the stage is.

    Args:
        given: of ``given_to``.
        recipe: settings of the run.
        stage: its name.
        dataset: the examples.
        validation: chooses a sub-model's epoch where the stage asks for the best one.
        pipeline: the user's own loss, where the stage has it.

    Returns:
        A copy with ``trained``.
    """

    def trained(members: Examples, seed: int) -> Classifier:
        classifier = new_classifier(recipe.with_changes(seed=seed), dataset.num_classes, dataset.input_shape)
        bake(classifier.network)
        task = replace(task_of(classifier.network, recipe, stage, dataset.input_shape), pipeline=pipeline)
        with holding(classifier, task.stage):
            fit(classifier, members, task, seed=seed, holdout=given.holdout, validation=validation)
        return classifier

    return replace(given, trained=trained)


def retrained(
    objective: Objective,
    teacher: dict[str, torch.Tensor],
    recipe: Recipe,
    dataset: Dataset,
    made_of: Callable[[Classifier], Retraining],
) -> tuple[Examples, dict[str, Any]]:
    """Members as an objective makes them.

    Args:
        objective: with ``retrained``.
        teacher: weights of the classifier as it was before the stage.
        recipe: settings of the run.
        dataset: the examples.
        made_of: (teacher) -> what they are made of.

    Returns:
        The members, and what was measured, as JSON.
    """
    assert objective.retrained is not None
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    load_state(classifier, teacher)
    bake(classifier.network)
    return objective.retrained(made_of(classifier))
