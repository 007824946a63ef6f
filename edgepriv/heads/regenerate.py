"""Training the output regenerator (Ding et al. 2023, section 3.3) on what the finished model answers."""

from typing import Any

import numpy as np
import torch

from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.heads.masks import Generator, Mask, build, from_record, masked, record_of
from edgepriv.heads.values import mask_values
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe, Stage
from edgepriv.recipe.defences.heads import trained_on_members
from edgepriv.training.answers import probabilities_of
from edgepriv.training.device import device_of
from edgepriv.training.examples import Examples
from edgepriv.training.loop import fit
from edgepriv.training.task import Task

SEED = 1000
"""Added to the recipe's, so that no stage of training draws the same numbers."""


def refuse_without_holdout(recipe: Recipe, split: Split) -> None:
    """Raise UserError when a head compares members with a privacy holdout and there is none.

    Args:
        recipe: settings of the head.
        split: who is a member, who is held out.

    Raises:
        UserError: where either side is empty.
    """
    if trained_on_members(recipe.head) and not (len(split.holdout) and len(split.members)):
        raise UserError(
            f"the head {recipe.head.method!r} is trained on the members and on a privacy holdout: set data.holdout above 0"
        )


def member_labels(probabilities: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Soft labels of Algorithm 1 (eq. 2): a member's own answer, and of a non-member 1 for the likeliest class.

    Args:
        probabilities: float32 [n, K].
        member: bool [n].

    Returns:
        float32 [n, K].
    """
    certain = np.eye(probabilities.shape[1], dtype=np.float32)[probabilities.argmax(axis=1)]
    return np.where(member[:, None], probabilities, certain)


def nonmember_labels(probabilities: np.ndarray) -> np.ndarray:
    """Soft labels of Algorithm 2: the same values for every answer, placed by the rank of its classes.

    Args:
        probabilities: float32 [n, K].

    Returns:
        float32 [n, K].
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    labels = np.empty_like(probabilities)
    np.put_along_axis(labels, order, np.array([mask_values(probabilities.shape[1])], np.float32), axis=1)
    return labels


def trained_mask(recipe: Recipe, classifier: Classifier, dataset: Dataset, split: Split) -> Mask:
    """The head that ``recipe.head`` asks for, trained on what the model answers to members and holdout. Deterministic.

    The member mask minimises the squared error of probabilities, the non-member mask the cross-entropy of soft labels; ``rank``
    looks at nothing.

    Args:
        recipe: settings of the head, and its seed.
        classifier: with the weights that ship.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        The head in eval mode.

    Raises:
        UserError: for a head that needs a privacy holdout where there is none.
    """
    method, classes = recipe.head.method, dataset.num_classes
    seed = recipe.seed + SEED
    torch.manual_seed(seed)
    head = build(method, classes)
    if not isinstance(head, Generator):
        return head.eval()
    refuse_without_holdout(recipe, split)
    seen = probabilities_of(classifier, dataset, np.concatenate([split.members, split.holdout]))
    member = np.arange(len(seen)) < len(split.members)
    wanted = member_labels(seen, member) if method == "member" else nonmember_labels(seen)
    stage = Stage(epochs=recipe.head.epochs, batch_size=recipe.head.batch_size, lr=recipe.head.lr, weight_decay=0.0)
    task = Task(
        stage,
        device=device_of(recipe.device),
        loss="squared" if method == "member" else "cross-entropy",
    )
    trained = Classifier(head.network, [0.0] * classes, [1.0] * classes)
    fit(trained, Examples(torch.from_numpy(seen), torch.from_numpy(wanted)), task, seed=seed)
    return head.eval()


def mask_record(recipe: Recipe, classifier: Classifier, dataset: Dataset, split: Split) -> dict[str, Any]:
    """``trained_mask`` as checkpoints hold it.

    Args:
        recipe: settings of the head, and its seed.
        classifier: with the weights that ship.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        The record.

    Raises:
        UserError: for a head that needs a privacy holdout where there is none.
    """
    head = trained_mask(recipe, classifier, dataset, split)
    return record_of(recipe.head.method, dataset.num_classes, head.state_dict())


def mask_facts(record: dict[str, Any], classifier: Classifier, dataset: Dataset, split: Split) -> dict[str, Any]:
    """What checkpoint and manifest say of a head: its width or values, and the share of labels that it changes.

    Args:
        record: of the head.
        classifier: with the weights that ship.
        dataset: the examples.
        split: members and privacy holdout.

    Returns:
        The facts, as JSON.
    """
    head = from_record(record, dataset.num_classes, "the checkpoint")
    facts: dict[str, Any] = {"method": record["method"]}
    facts |= {"width": head.width} if isinstance(head, Generator) else {"values": head.values.tolist()}
    for name, index in {"members": split.members, "holdout": split.holdout}.items():
        if len(index):
            seen = probabilities_of(classifier, dataset, index)
            changed = masked(head, seen).argmax(1) != seen.argmax(1)
            facts[f"labels_changed_{name}"] = float(changed.mean())
    return facts
