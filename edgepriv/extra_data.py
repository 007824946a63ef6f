"""Extra and public data of a recipe: opened, labelled, checked against the data, and proved the same when needed again."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from edgepriv import data
from edgepriv.data import Dataset, ExtraData, Split
from edgepriv.errors import UserError
from edgepriv.models import checkpoint
from edgepriv.project import say
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences.dmp import DMP, Dmp
from edgepriv.recipe.defences.extra import BY_MODEL, EXTRA, GIVEN, Extra
from edgepriv.training.copies import copied_in_holdout
from edgepriv.training.extra import labels_by
from edgepriv.training.objectives.dmp import FEWEST, TOO_MANY_COPIES

_FEW_STEPS = 0.5
"""Of the examples that the training saw in all its epochs."""


def with_extra(recipe: Recipe, dataset: Dataset, split: Split, *, quiet: bool = False) -> tuple[Recipe, Dataset]:
    """Open what a recipe trains on beside the members, or distils on in their place.

    Args:
        recipe: that may ask for extra data.
        dataset: that they go with.
        split: who plays which role in it.
        quiet: say nothing of them, as it has been said.

    Returns:
        The recipe, which says then who labels extra data and the hash of all, and the data set with them; both as they are
        where no stage uses any.

    Raises:
        UserError: for a file that does not fit, shares examples with the data, or is not the one that the recipe was run with.
    """
    tell = (lambda note: None) if quiet else say
    return _with_extra(*_with_public(recipe, dataset, split, tell), split, tell)


def _with_public(recipe: Recipe, dataset: Dataset, split: Split, tell: Callable[[str], None]) -> tuple[Recipe, Dataset]:
    asked = recipe.own(Dmp)
    if not DMP.active(recipe):
        return recipe, dataset
    if asked.file is None:
        copies = int(copied_in_holdout(dataset, split).sum())
        if copies and len(split.holdout) - copies < FEWEST:
            raise UserError(TOO_MANY_COPIES)
        if copies:
            tell(
                f"DMP: {copies:,} of the {len(split.holdout):,} examples of the privacy holdout are equal to members, "
                "non-members or others outside it, and are left out"
            )
        return recipe, dataset
    path = asked.path
    assert path is not None
    _refuse_absent(path, "--public", asked.sha256)
    public = data.read_public(asked.file, dataset, recipe.data)
    if asked.sha256 and asked.sha256 != public.sha256:
        raise UserError(
            f"{path} has changed since the model was distilled on it (--public): bring back the file as it was"
        )
    if asked.share * len(public) < FEWEST:
        raise UserError(
            f"--dmp {asked.share:g} of the {len(public):,} examples of {path} are too few to distil on: pass a larger share, "
            "or a larger file"
        )
    data.refuse_shared(public, path, dataset, split, "Public examples")
    tell(
        f"public examples: {len(public):,} of {path}, whose labels are not read; none of them plays a part in {dataset.name}, "
        "as a member, a non-member, held out or in the attacker's pool"
    )
    return recipe.with_changes(dmp={"sha256": public.sha256}), replace(dataset, public=public)


def few_steps(recipe: Recipe, dataset: Dataset, split: Split) -> list[str]:
    """What the epochs of DMP come to beside those of the training: without more of them a student learns less from fewer
    examples than there are members.

    Args:
        recipe: of the hardening, whose stage ``train`` was run.
        dataset: after ``with_extra``.
        split: who is a member, who is held out.

    Returns:
        A sentence where the student sees less than half of what the teacher saw; else none.
    """
    if not DMP.active(recipe):
        return []
    held = int((~copied_in_holdout(dataset, split)).sum()) if dataset.public is None else len(dataset.public)
    used = recipe.own(Dmp).share * held
    epochs, had = recipe.distilled.epochs, len(split.members) * recipe.train.epochs
    if used == 0 or used * epochs >= _FEW_STEPS * had:
        return []
    return [
        f"DMP: {epochs:,} epochs on {used:,.0f} examples are {used * epochs / had:.0%} of what the training saw in "
        f"{recipe.train.epochs:,} epochs; --distill-epochs {math.ceil(had / used):,} are as many"
    ]


def _with_extra(recipe: Recipe, dataset: Dataset, split: Split, tell: Callable[[str], None]) -> tuple[Recipe, Dataset]:
    if not EXTRA.active(recipe):
        return recipe, dataset
    asked = recipe.own(Extra)
    path = asked.path
    assert path is not None
    _refuse_absent(path, "--extra", asked.sha256)
    if asked.labelled_by is not None:
        _refuse_absent(asked.labelled_by, "--extra-labels", asked.sha256)
    extra = data.read_extra(path, dataset, recipe.data)
    labels = asked.labels or (BY_MODEL if extra.y is None else GIVEN)
    if labels == GIVEN and extra.y is None:
        raise UserError(f"{path} holds no y: label it with --extra-labels model or a checkpoint")
    if labels == BY_MODEL and "train" in EXTRA.stages_in(recipe):
        raise UserError(
            f"a model that begins to be trained cannot label {path}: give it a y, or a checkpoint with --extra-labels MODEL.pt"
        )
    if labels == BY_MODEL:
        extra = ExtraData(extra.x, None)
    elif labels != GIVEN:
        extra = _labelled_by_checkpoint(extra, asked, dataset)
    if asked.sha256 and asked.sha256 != extra.sha256:
        raise UserError(
            f"{path} has changed since the model was trained with it (--extra): bring back the file as it was"
        )
    data.refuse_shared(extra, path, dataset, split)
    tell(_described(extra, asked, labels, dataset))
    return recipe.with_changes(extra={"labels": labels, "sha256": extra.sha256}), replace(dataset, extra=extra)


def _refuse_absent(path: Path, option: str, known: str) -> None:
    """``known``: hash of what the model was trained with, empty where it is yet to be trained."""
    if known and not path.exists():
        raise UserError(
            f"{path} is gone, with which the model was trained ({option}): reference models need it too, so put it back there, "
            "or audit by an attacker who knows of no defence (--threat-model oblivious)"
        )


def _labelled_by_checkpoint(extra: ExtraData, asked: Extra, dataset: Dataset) -> ExtraData:
    path = asked.labelled_by
    assert path is not None
    opened = checkpoint.load(path, None)
    if opened.class_names != dataset.class_names or opened.input_shape != dataset.input_shape:
        raise UserError(f"--extra-labels {path}: that model has other classes or inputs than the data")
    return data.labelled(extra, labels_by(opened.classifier(), torch.from_numpy(extra.x)).numpy())


def _described(extra: ExtraData, asked: Extra, labels: str, dataset: Dataset) -> str:
    origins = {GIVEN: "labels as given", BY_MODEL: "labelled by the model before it sees them"}
    return (
        f"extra data: {len(extra):,} examples of {asked.path}, {origins.get(labels, f'labelled by {labels}')}, take "
        f"{asked.share:.0%} of each batch; none of them plays a part in {dataset.name}, as a member, a "
        "non-member, held out or in the attacker's pool"
    )
