"""The radius of adversarial training is asked for, with what it costs, where no custom gives it."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from edgepriv import progress
from edgepriv.data import Dataset, Split, ordinary
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, eps_for
from edgepriv.training.pgd import perturbed, pgd_budget

CUSTOMARY = {"fashion_mnist", "mnist", "cifar10", "cifar100", "digits"}
"""Data sets on which ``recipe.eps_for`` is what everybody uses; on others it is a guess by the shape of the input."""
LADDER = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
"""Shares of the customary radius that are tried."""
KEPT = 0.5
"""Share of its accuracy that a model must keep under the suggested radius before it is trained for it."""
_PROBED, _STEPS = 128, 10
_PATIENCE, _FEW = 10.0, 8
"""Seconds that probing may take for a suggestion alone, and inputs that tell how long it takes."""
_SCALE_ROWS, _SCALE_OTHERS = 100, 1_000


def stated(changes: Mapping[str, Any], recipe: Recipe | None, trained_by: Recipe, input_shape: tuple[int, ...]) -> bool:
    """Whether anybody has said which eps is meant, rather than the inputs' shape.

    Args:
        changes: sections of the recipe by name, from the options.
        recipe: that was given, None for none.
        trained_by: the checkpoint's own.
        input_shape: of one example.

    Returns:
        True where options, recipe or the checkpoint's own training say it.
    """
    adversary = changes.get("adversary") or {}
    if adversary.get("eps") is not None or (recipe is not None and recipe.adversary.eps is not None):
        return True
    norm = adversary.get("norm") or trained_by.adversary.norm
    known = trained_by.adversary.eps
    trained_so = trained_by.train.adversarial and trained_by.adversary.method != "none"
    return (
        known is not None and norm == trained_by.adversary.norm and (trained_so or known != eps_for(input_shape, norm))
    )


def refuse_guess(recipe: Recipe, stages: tuple[str, ...], dataset: Dataset, split: Split) -> None:
    """Refuse adversarial training without an eps on data that have no customary one, before there is a model to probe.

    Args:
        recipe: in which nobody stated an eps.
        stages: that are to run.
        dataset: the examples; the distance between their classes is the scale that is suggested.
        split: who is a member.

    Raises:
        UserError: when one of ``stages`` is adversarial on such data.
    """
    if _is_guess(recipe, stages, dataset):
        raise UserError(f"{_asked_for(dataset)}. {_scale(dataset, split)}")


def probed(
    recipe: Recipe, stages: tuple[str, ...], dataset: Dataset, split: Split, classifier: Classifier, *, asked: bool
) -> tuple[Recipe, str]:
    """As ``refuse_guess`` for a trained classifier, which is probed under a few radii.

    Args:
        recipe: in which nobody stated an eps.
        stages: that are to run.
        dataset: the examples.
        split: who is a member.
        classifier: trained.
        asked: whether adversarial training was asked for, rather than the default.

    Returns:
        The recipe with the largest radius under which the model keeps half of its accuracy, and a sentence to say so; the
        recipe as it is, and nothing, where nothing is guessed.

    Raises:
        UserError: when adversarial training was ``asked`` for; it suggests that radius.
    """
    if not _is_guess(recipe, stages, dataset):
        return recipe, ""
    slow = _seconds(dataset, split, classifier) > _PATIENCE
    if slow and asked:
        raise UserError(f"{_asked_for(dataset)}. {_scale(dataset, split)}")
    if slow:
        progress.announce("choosing --eps, which was not given")
    eps, why = _probe(recipe, dataset, split, classifier)
    if asked:
        raise UserError(f"{_asked_for(dataset)}. Pass --eps {eps:g}, for instance: {why}")
    return (
        recipe.with_changes(adversary={"eps": eps}),
        f"eps {eps:g} was chosen for adversarial training, since none is customary for {dataset.name} (--eps names "
        f"another): {why}",
    )


def _is_guess(recipe: Recipe, stages: tuple[str, ...], dataset: Dataset) -> bool:
    adversarial = recipe.adversary.method != "none" and any(getattr(recipe, name).adversarial for name in stages)
    return adversarial and dataset.name not in CUSTOMARY


def _asked_for(dataset: Dataset) -> str:
    return f"adversarial training needs --eps: no radius is customary for {dataset.name}"


def _seconds(dataset: Dataset, split: Split, classifier: Classifier) -> float:
    """About how long ``_probe`` takes, by one answer."""
    x = torch.from_numpy(dataset.inputs(split.non_members[:_FEW]))
    classifier.eval()
    with torch.no_grad():
        classifier(x)  # the first call prepares the model
        began = time.monotonic()
        classifier(x)
    passes = len(LADDER) * 3 * _STEPS  # forward, and backward, which takes twice as long
    return (time.monotonic() - began) / len(x) * _PROBED * passes


def _probe(recipe: Recipe, dataset: Dataset, split: Split, classifier: Classifier) -> tuple[float, str]:
    """The largest radius tried under which the model keeps half of its accuracy, and what it keeps, on validation examples
    if there are any."""
    split = ordinary(split, dataset)
    norm, guess = recipe.adversary.norm, eps_for(dataset.input_shape, recipe.adversary.norm)
    if recipe.dp.active:  # whose epsilon knows of no look at the members
        pool = np.concatenate([split.validation, split.holdout])
        if not len(pool):
            raise UserError(
                f"{_asked_for(dataset)}, and without validation and holdout examples it could be chosen on the members alone, "
                "which differential privacy does not cover: pass --eps"
            )
    else:
        pool = split.validation if len(split.validation) >= 20 else split.members
    index = np.sort(np.random.default_rng([split.seed, 9]).permutation(pool)[:_PROBED])
    x, y = torch.from_numpy(dataset.inputs(index)), torch.from_numpy(dataset.y[index])
    classifier.eval()

    def right(inputs: torch.Tensor) -> float:
        with torch.no_grad():
            return float((classifier(inputs).argmax(1) == y).float().mean())

    clean, kept = right(x), {}
    for share in LADDER:
        eps = float(f"{guess * share:.2g}")
        budget = pgd_budget(norm, eps, _STEPS, fixed=recipe.adversary.fixed)
        kept[eps] = right(perturbed(classifier, x, y, budget, torch.Generator().manual_seed(split.seed)))
        if kept[eps] >= KEPT * clean:
            break
    first, best = next(iter(kept)), next(reversed(kept))
    beside = f"; {first:g} leaves {kept[first]:.0%}" if first != best else ""
    return best, (
        f"now, before it is trained for it, the model keeps {kept[best]:.0%} under it ({norm}, PGD with {_STEPS} steps on "
        f"{len(y)} inputs, {clean:.0%} of which it has right unperturbed){beside}"
    )


def _scale(dataset: Dataset, split: Split) -> str:
    """The median distance of an example to the nearest of another class, and a tenth of it."""
    order = np.random.default_rng([split.seed, 9]).permutation(ordinary(split, dataset).members)
    some, others = order[:_SCALE_ROWS], order[:_SCALE_OTHERS]
    rows, rest = (dataset.inputs(index).reshape(len(index), -1) for index in (some, others))
    if dataset.encoding is not None:  # what is not measured is not perturbed
        rows, rest = rows[:, dataset.encoding.measured], rest[:, dataset.encoding.measured]
    nearest = [
        float(np.abs(rest[dataset.y[others] != label] - row).max(axis=1).min())
        for row, label in zip(rows, dataset.y[some], strict=True)
        if (dataset.y[others] != label).any()
    ]
    median = float(np.median(nearest))
    return (
        f"The median distance of a member to the nearest one of another class is {median:.3g} (linf, inputs in [0, 1]); eps "
        f"must stay well below half of that, so start with --eps {median / 10:.2g}"
    )
