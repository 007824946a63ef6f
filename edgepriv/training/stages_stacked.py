"""A recipe's stages one after another, for many models at once: what reference models are trained by."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from edgepriv.data import Dataset, Split
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import DEFENCES
from edgepriv.recipe.defences.extra import EXTRA
from edgepriv.training.device import PROCESSOR
from edgepriv.training.extra import extra_labels, extra_of
from edgepriv.training.held import holding
from edgepriv.training.loop import fit
from edgepriv.training.retraining import given_to, retraining_in
from edgepriv.training.stacked import Stack, StackedExamples, stackable
from edgepriv.training.stages import examples_of, validation_rows
from edgepriv.training.starting import new_classifier
from edgepriv.training.task import task_of


def run_stages_stacked(
    classifiers: Sequence[Classifier],
    recipes: Sequence[Recipe],
    dataset: Dataset,
    splits: Sequence[Split],
    *,
    done_before: int = 0,
    device: torch.device = PROCESSOR,
) -> None:
    """Run all stages of each recipe on its split's members, in place and all models at once.

    Each classifier becomes what ``run_stages`` makes of it, up to rounding.

    Args:
        classifiers: one for each recipe; they stay where they are.
        recipes: ``stackable``, and equal but for their seeds.
        dataset: the examples.
        splits: equal but for the members, whose numbers are equal.
        done_before: as for ``run_stages``.
        device: where to train.

    Raises:
        UserError: for a training that diverges.
    """
    recipe, validation = recipes[0], validation_rows(splits[0])
    if not stackable(recipe):
        raise ValueError("these models must be trained one by one")
    stack = Stack(classifiers)
    members = _stacked_examples(dataset, [split.members for split in splits])
    held_out = _stacked_examples(dataset, [validation] * len(splits))
    told: torch.Tensor | None = None
    for position, name in list(enumerate(recipe.stages()))[done_before:]:
        retraining = retraining_in(recipe, name, dataset)
        if retraining is not None and DEFENCES[retraining.name].stage == name:
            stack.copy_to(classifiers)
            members = _stacked_retrained(name, classifiers, recipes, dataset, splits)
            stack = Stack([new_classifier(own, dataset.num_classes, dataset.input_shape) for own in recipes])
        task = task_of(stack.network, recipe.with_changes(device=str(device)), name, dataset.input_shape)
        if EXTRA.acts_in(recipe, name):
            if told is None:
                stack.copy_to(classifiers)
                told = extra_labels(dataset, classifiers)
            task = replace(task, extra=extra_of(recipe, dataset, told).on(device))
        seeds = [own.seed + position for own in recipes]
        with holding(stack, task.stage):
            fit(stack, members, task, seed=seeds, validation=held_out)
    stack.copy_to(classifiers)


def _stacked_examples(dataset: Dataset, indices: Sequence[np.ndarray]) -> StackedExamples:
    return StackedExamples(
        torch.from_numpy(dataset.x), torch.from_numpy(dataset.y), rows=torch.from_numpy(np.stack(indices))
    )


def _stacked_retrained(
    stage: str, teachers: Sequence[Classifier], recipes: Sequence[Recipe], dataset: Dataset, splits: Sequence[Split]
) -> StackedExamples:
    """Each model's members as its own teacher makes them."""
    made = []
    for teacher, own, split in zip(teachers, recipes, splits, strict=True):
        objective = retraining_in(own, stage, dataset)
        assert objective is not None
        assert objective.retrained is not None
        members, holdout = (examples_of(dataset, index) for index in (split.members, split.holdout))
        made.append(objective.retrained(given_to(teacher, members, holdout, dataset, split.members))[0])
    taught = torch.cat([own.teacher for own in made if own.teacher is not None])
    rows = torch.arange(len(taught)).view(len(made), -1)
    return StackedExamples(torch.cat([own.x for own in made]), torch.cat([own.y for own in made]), taught, rows=rows)
