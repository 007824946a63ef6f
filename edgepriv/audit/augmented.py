"""Answers to augmented copies of the candidates: more evidence from each model (Carlini et al. 2022, section 6.3).

A model that was trained on random crops and mirror images has seen these, not only the record. The copies are some of what
its training drew from: the image itself, and the image moved up, down, left and right by half of the padding, black moving
in; where training mirrored, one more, and every other one, is a mirror image. Of a table there is no such copy: noise would
ask about other records.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgepriv import progress
from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.kept import digest, kept
from edgepriv.audit.queries import Asked
from edgepriv.audit.references import Fleet
from edgepriv.audit.tempered import tempered_log_odds
from edgepriv.audit.trained_answers import References
from edgepriv.data import Dataset
from edgepriv.recipe import Recipe

Inputs = npt.NDArray[np.float32]

_WIDEST = ("none", "crop", "crop_flip")
"""The last shows the model the most copies."""
PREFIX = "augmented/"
"""Of the names of attacks that ask for copies."""


def copies_of_training(x: Inputs, how: str) -> Iterator[Inputs]:
    """What training with random crops may have shown of each image.

    Args:
        x: float32 [n, C, H, W] in [0, 1].
        how: "crop" or "crop_flip", as of ``training.augment.augmented``.

    Yields:
        float32 [n, C, H, W], ``copies_asked(how)`` times; the first is ``x`` itself.
    """
    height, width = x.shape[2:]
    step = max(1, height // 16)
    padded = np.pad(x, ((0, 0), (0, 0), (step, step), (step, step)))
    moved = [
        padded[:, :, step + down : step + down + height, step + right : step + right + width]
        for down, right in ((step, 0), (-step, 0), (0, step), (0, -step))
    ]
    yield x
    if how == "crop_flip":
        yield x[..., ::-1]
    for place, image in enumerate(moved):
        yield image[..., ::-1] if how == "crop_flip" and place % 2 else image


def copies_asked(how: str) -> int:
    """How many copies ``copies_of_training`` yields.

    Args:
        how: "crop" or "crop_flip".

    Returns:
        Their number, the image itself among them.
    """
    return 6 if how == "crop_flip" else 5


def augmentation_of(recipe: Recipe, dataset: Dataset) -> tuple[str, str]:
    """Which copies a model is asked about.

    Args:
        recipe: how it was trained, and the attacks that were asked for.
        dataset: the candidates.

    Returns:
        "crop" or "crop_flip", and an empty reason; or an empty string, and the reason why it is asked about none.
    """
    images = len(dataset.input_shape) == 3
    # Of all stages: hardening may augment what the first training did not.
    trained = max((stage.augment for stage in recipe.stages().values()), key=_WIDEST.index, default="none")
    if not images:
        return "", "a table has no augmented copies: noise would make other records of it"
    if trained != "none":
        return trained, ""
    if PREFIX in recipe.audit.attacks:  # by name, not among all
        return "crop_flip" if dataset.input_shape[0] > 1 else "crop", ""
    return (
        "",
        "the model is not known to be trained on augmented copies (named by --attacks, these are run all the same)",
    )


def with_copies(
    plain: Evidence, target: Asked, dataset: Dataset, candidates: np.ndarray, recipe: Recipe, fleet: Fleet | None
) -> Evidence:
    """The evidence of plain answers, with that of augmented copies beside it.

    Args:
        plain: of all candidates.
        target: the model.
        dataset: the examples.
        candidates: int64 [n] into ``dataset``.
        recipe: how the target was trained.
        fleet: the attacker's models; None for an attacker who trains nothing.

    Returns:
        Evidence with ``copies``, the candidates as they are first; or with the reason why there are none in ``lacks``.
    """
    how, reason = augmentation_of(recipe, dataset)
    if not reason and fleet is not None and fleet.references is not None and not fleet.models:
        reason = "of the reference models only their answers to the records as they are are known"
    if reason or fleet is None or fleet.references is None or plain.references is None:
        return replace(plain, lacks={**plain.lacks, **({"augmentation": reason} if reason else {})})
    x, labels = dataset.inputs(candidates), dataset.y[candidates]
    asked_of_target = [target.predict(np.ascontiguousarray(copy)) for copy in list(copies_of_training(x, how))[1:]]
    models = progress.each(fleet.models, "augmented copies", unit="model", total=len(fleet.models))
    known = np.stack([_of_model(path, fleet, x, labels, how, digest(candidates)) for path in models])
    bare = replace(plain, population=None, generated=None, inputs=None, shadow=None)
    copies = [bare]
    for place, answers in enumerate(asked_of_target):
        odds, *hot = np.moveaxis(known[:, place], 1, 0)
        references = References(odds.astype(np.float64), plain.references.member, np.stack(hot))
        copies.append(replace(bare, target=Outputs(answers, labels), references=references))
    return replace(plain, copies=tuple(copies))


def _of_model(
    path: Path, fleet: Fleet, x: Inputs, labels: npt.NDArray[np.int64], how: str, about: str
) -> npt.NDArray[np.float32]:
    """Log-odds of a reference model, float32 [copies - 1, 1 + temperatures, n]."""

    def ask() -> np.ndarray:
        assert fleet.ask is not None  # where there are files of models, they can be asked
        model, seen = fleet.ask(path), []
        for copy in list(copies_of_training(x, how))[1:]:
            answers = model.predict(np.ascontiguousarray(copy))
            seen.append(np.stack([log_odds(answers, labels), *tempered_log_odds(answers, labels)]))
        return np.stack(seen).astype(np.float32)

    return kept(path, ["augmented", how, about], (sys.modules[__name__],), ask)
