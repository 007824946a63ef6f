"""What may be wrong with extra and public data, checked against the model, the split and the user's own files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgepriv import data
from edgepriv.data import Dataset, ExtraData, Split, shared_with
from edgepriv.errors import UserError
from edgepriv.models import Classifier, checkpoint
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences.dmp import DMP, Dmp
from edgepriv.recipe.defences.extra import EXTRA, Extra
from edgepriv.training.copies import copied_in_holdout
from edgepriv.training.extra import labels_by

_COMPARED = 1_000
_FEWEST = 20
_PART = 0.5
"""Share of its accuracy on held-out data below which a model's agreement with given labels is remarked on: other images cost
some accuracy, classes that are numbered otherwise cost nearly all of it."""


def remarks_on_labels(
    recipe: Recipe, dataset: Dataset, split: Split, classifier: Classifier
) -> tuple[list[str], list[str]]:
    """Compare the labels of extra data with what the model that is hardened takes them for.

    Args:
        recipe: after ``with_extra``.
        dataset: with the extra data.
        split: who plays which role in it.
        classifier: the model before it sees them, on the processor.

    Returns:
        Notes, and warnings: of labels that the model tells, how often it is right; of labels that are given, that it takes
        most of the examples for something else. None without extra data.
    """
    if not EXTRA.active(recipe) or dataset.extra is None:
        return [], []
    held = next(index for index in (split.validation, split.holdout, split.non_members) if len(index))[:_COMPARED]
    right = float((_labels(classifier, dataset.x[held]) == dataset.y[held]).mean())
    if dataset.extra.y is None:
        share = f"it is right for {right:.1%} of {len(held):,} held-out examples"
        return [f"extra data: the model gives the labels, and {share}"], []
    some = np.random.default_rng([split.seed, 19]).permutation(len(dataset.extra))[:_COMPARED]
    alike = float((_labels(classifier, dataset.extra.x[some]) == dataset.extra.y[some]).mean())
    if len(some) < _FEWEST or alike >= _PART * right:
        return [], []
    return [], [
        f"extra data: the model takes {alike:.1%} of {len(some):,} examples for what their labels say, and is right for "
        f"{right:.1%} of held-out ones: see whether the labels number the classes as the training data do, or let the model "
        "tell them (--extra-labels model)"
    ]


def _labels(classifier: Classifier, x: np.ndarray) -> np.ndarray:
    return labels_by(classifier, torch.from_numpy(np.ascontiguousarray(x))).numpy()


def known_by_labels(recipe: Recipe, dataset: Dataset, split: Split) -> list[str]:
    """What the labels of extra data may tell of members, where a checkpoint gives them.

    Every reference model gets the same labels, so what they tell of members is in models that were trained without these, too,
    and the audit sees no difference.

    Args:
        recipe: after ``with_extra``.
        dataset: that the extra data go with.
        split: who plays which role in it.

    Returns:
        A warning where the checkpoint was trained on members or non-members, or where nobody knows; else none.
    """
    asked = recipe.own(Extra)
    if not EXTRA.active(recipe) or asked.labelled_by is None:
        return []
    record = checkpoint.load(asked.labelled_by, None).data
    name = asked.labelled_by.name
    if record is None or "split" not in record:
        return [
            f"extra data: what {name}, which labels them, was trained on is not known: if members were among it, an audit does "
            "not see what its labels tell of them"
        ]
    if record["sha256"] != dataset.sha256:
        return []
    theirs = data.remake_split(dataset, record["split"]).members
    counts = {
        role: len(np.intersect1d(theirs, own))
        for role, own in (("member", split.members), ("non-member", split.non_members))
    }
    shared = [f"{count:,} {role}{'' if count == 1 else 's'}" for role, count in counts.items() if count]
    if not shared:
        return []
    return [
        f"extra data: {name}, which labels them, was trained on {' and '.join(shared)}. Reference models get the same labels, "
        "so an audit does not see what these tell of anybody: label with --extra-labels model, or a checkpoint of other data"
    ]


def refuse_trained_on(
    recipe: Recipe, dataset: Dataset, split: Split, recorded: Callable[[], tuple[Dataset, Split]]
) -> list[str]:
    """Refuse non-members that the model has seen as extra data, or was distilled on: public data, or its privacy holdout.

    Args:
        recipe: of the stages that have run.
        dataset: the user's members and non-members.
        split: who is which.
        recorded: opens the data that the model was trained on, and the split of its own.

    Returns:
        Sentences: how many members are among these data, and of which file nobody knows that any more.

    Raises:
        UserError: says how many non-members are in a file that the model was trained with.
    """
    extra, public = recipe.own(Extra), recipe.own(Dmp)
    read: list[tuple[str, Path | str, Callable[[], ExtraData]]] = []
    if EXTRA.active(recipe) and extra.path is not None:
        path = extra.path
        read.append(("extra data", path, lambda: data.read_extra(path, dataset, recipe.data)))
    if DMP.active(recipe) and public.file is not None and public.path is not None:
        file = public.file
        read.append(("public data", public.path, lambda: data.read_public(file, dataset, recipe.data)))
    elif DMP.active(recipe):
        read.append(("privacy holdout", "the data", lambda: _held_out(*recorded())))
    sure = not DMP.active(recipe) or public.share == 1
    return [line for what, path, reads in read for line in _shared(what, path, reads, dataset, split, sure=sure)]


def _held_out(dataset: Dataset, split: Split) -> ExtraData:
    return ExtraData(dataset.x[split.holdout[~copied_in_holdout(dataset, split)]], None)


def _shared(
    what: str, path: Path | str, reads: Callable[[], ExtraData], dataset: Dataset, split: Split, *, sure: bool
) -> list[str]:
    """``sure``: whether the model was trained on all of these data."""
    try:
        seen = reads()
    except UserError as error:
        return [f"whether any of these records is among the {what} of the model's training is not known: {error}"]
    inside, outside = (shared_with(seen.x, dataset.x[index]) for index in (split.members, split.non_members))
    if outside:
        raise UserError(
            f"{outside:,} of the {len(split.non_members):,} non-members are in {_where(what, path)} that the model was trained "
            f"with: leave them out, for the model {'has' if sure else 'may have'} seen them{_or_else(path)}"
        )
    return (
        [f"{inside:,} of the {len(split.members):,} members are among the {what} of {path} as well"] if inside else []
    )


def _or_else(path: Path | str) -> str:
    """Which records the holdout holds, the user cannot see: the audit of the model's own split leaves them out."""
    return "" if isinstance(path, Path) else "; without --members and --non-members the audit does so itself"


def _where(what: str, path: Path | str) -> str:
    return f"{path}, the {what}" if isinstance(path, Path) else f"the {what} of {path}"
