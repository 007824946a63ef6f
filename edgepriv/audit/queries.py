"""What is asked of one model to see more of it than its answers to the examples as they are.

Target, shadow model and reference models are asked in exactly the same way, so that their answers can be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgepriv.audit.augment import copies
from edgepriv.audit.boundary import boundary_distance, noise_survival
from edgepriv.audit.table_rows import TableRows
from edgepriv.heads import Answering
from edgepriv.models import Classifier
from edgepriv.training.answers import softmax_of
from edgepriv.training.pgd import Budget, perturbed

Inputs = npt.NDArray[np.float32]

_BATCH = 256


@dataclass(frozen=True)
class Asked:
    """A model to be asked. ``predict``: float32 [n, ...] in [0, 1] -> probabilities [n, K]. ``logits_of``: the same function
    with gradients, to logits, those before a head; None when there is none."""

    predict: Callable[[Inputs], npt.NDArray[np.floating]]
    logits_of: Callable[[Tensor], Tensor] | None


def asked(classifier: Classifier, head: Answering | None = None) -> Asked:
    """A trained torch classifier, to be asked.

    Args:
        classifier: put into eval mode; its parameters no longer collect gradients, as those wanted are of the inputs.
        head: through which it answers, None without one.

    Returns:
        Probabilities behind the head, and logits before it.
    """
    classifier.eval()
    for parameter in classifier.parameters():
        parameter.requires_grad_(False)  # the gradients wanted are those of the inputs

    def predict(x: Inputs) -> npt.NDArray[np.floating]:
        probabilities = softmax_of(classifier, torch.from_numpy(np.ascontiguousarray(x)).split(_BATCH))
        return probabilities if head is None else head(probabilities, x)

    return Asked(predict, classifier)


def labels_on(
    kind: str, model: Asked, x: Inputs, y: npt.NDArray[np.int64], *, binary: bool, seed: int
) -> npt.NDArray[np.float64]:
    """What the labels of variants of the examples show.

    Args:
        kind: "augmentation", "noise" or "boundary".
        model: the model to query.
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.
        binary: whether a table holds only 0 and 1.
        seed: of all random variants.

    Returns:
        float64: for "augmentation" [n, copies], 1 where the copy is classified right; for "noise" [n, 1 + strengths], see
        ``noise_survival``; for "boundary" [n], the distance.
    """

    def labels_of(variants: Inputs) -> npt.NDArray[np.integer]:
        return np.asarray(model.predict(variants).argmax(axis=1))

    if kind == "augmentation":
        right = [labels_of(variants) == y for variants in copies(x, binary=binary, seed=seed)]
        return np.stack(right, axis=1).astype(np.float64)
    return (noise_survival if kind == "noise" else boundary_distance)(labels_of, x, y, seed=seed)


def on_perturbed(
    model: Asked,
    x: Inputs,
    y: npt.NDArray[np.int64],
    budget: Budget,
    *,
    tries: int,
    seed: int,
    rows: TableRows | None = None,
) -> npt.NDArray[np.float32]:
    """A model's answers to examples that PGD has perturbed against this model.

    Gradients are those of ``logits_of``; the answers are ``predict``'s.

    Args:
        model: the model to query.
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.
        budget: norm, radius and steps.
        tries: random starts, each with an answer of its own.
        seed: of the random starts.
        rows: what the rows of a table can hold, which perturbed ones are moved to; None for other inputs.

    Returns:
        Probabilities float32 [tries, n, K].
    """
    if model.logits_of is None:
        raise ValueError("needs gradients")
    generator = torch.Generator().manual_seed(seed)
    answers = []
    for _ in range(tries):
        made = []
        for start in range(0, len(x), _BATCH):
            inputs = torch.from_numpy(np.ascontiguousarray(x[start : start + _BATCH]))
            labels = torch.from_numpy(y[start : start + _BATCH])
            made.append(perturbed(model.logits_of, inputs, labels, budget, generator).numpy())
        moved = np.concatenate(made)
        answers.append(model.predict(moved if rows is None else rows.nearest(x, moved, budget.norm, budget.eps)))
    return np.stack(answers).astype(np.float32)
