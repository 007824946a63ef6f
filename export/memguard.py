"""MemGuard (Jia et al. 2019): noise on the probabilities that misleads an attack classifier and keeps every label.

Needs numpy, nothing else. ``model.memguard.npz`` beside a model holds the classifier that its owner trained to tell members
by their sorted probabilities; ``predict.py`` then answers through ``guarded``.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

STEPS, STEP = 300, 0.1
"""Of the search for noise, in logits."""
KEEP_LABEL, SMALL, LARGEST_SMALL = 10.0, 0.1, 1e5
"""Weight c2 of keeping the label; weight c3 of little noise at first, multiplied by ten as long as noise is found."""
UNREADABLE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What numpy raises of a file that is no array, or is damaged."""
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class MemGuard:
    """``weights`` [out, in] and ``biases`` [out] of a perceptron with ReLU from K sorted probabilities to one logit, above 0
    for members. ``epsilon``: budget for the expected L1 distance of an answer from the model's own, 0 to 2."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    epsilon: float

    @property
    def classes(self) -> int:
        """K."""
        return int(self.weights[0].shape[1])


def beside(model: str | os.PathLike[str]) -> Path:
    """The name of the MemGuard of a model: ``model.onnx`` -> ``model.memguard.npz``.

    Args:
        model: the model's file.

    Returns:
        A path in the same folder.
    """
    return Path(model).with_suffix(".memguard.npz")


def load(path: str | os.PathLike[str]) -> MemGuard:
    """Read a MemGuard from its file.

    Args:
        path: of the .npz, with the arrays of ``of_arrays``.

    Returns:
        The MemGuard.

    Raises:
        Exception: one of ``UNREADABLE`` where the file is something else.
    """
    with Path(path).open("rb") as file:  # numpy leaves a damaged one open
        return read(file)


def read(file: BinaryIO) -> MemGuard:
    """Read a MemGuard from an open file, which stays open.

    Args:
        file: open for reading bytes, of the .npz.

    Returns:
        The MemGuard.

    Raises:
        Exception: one of ``UNREADABLE`` where the file is something else.
    """
    stored = np.load(file, allow_pickle=False)
    if isinstance(stored, np.ndarray):
        raise ValueError("no attack classifier")
    with stored:
        return of_arrays({name: stored[name] for name in stored.files})


def of_arrays(arrays: dict[str, np.ndarray]) -> MemGuard:
    """Make a MemGuard of its arrays.

    Args:
        arrays: ``weight0`` [out, in], ``bias0`` [out], ..., of which the last have one output; ``epsilon``, a number.

    Returns:
        The MemGuard, in float64.

    Raises:
        ValueError: where they are no attack classifier.
        KeyError: where an array is missing.
    """
    count = sum(name.startswith("weight") for name in arrays)
    weights, biases = (
        tuple(np.asarray(arrays[f"{kind}{i}"], np.float64) for i in range(count)) for kind in ("weight", "bias")
    )
    if not count or len(weights[-1]) != 1:
        raise ValueError("no attack classifier")
    return MemGuard(weights, biases, float(arrays["epsilon"]))


def member_logit(guard: MemGuard, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the attack classifier says of answers, and how it depends on them.

    Args:
        guard: the attack classifier.
        probabilities: float64 [n, K], in the order of the classes.

    Returns:
        The logit [n], above 0 for members, and its gradient [n, K] with respect to ``probabilities``; float64.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    value = np.take_along_axis(probabilities, order, axis=1)
    active = []
    for position, (weight, bias) in enumerate(zip(guard.weights, guard.biases, strict=True)):
        value = value @ weight.T + bias
        if position < len(guard.weights) - 1:
            active.append(value > 0)
            value = np.maximum(value, 0)
    slope = np.ones_like(value)
    for position in range(len(guard.weights) - 1, -1, -1):
        slope = slope @ guard.weights[position]
        if position:
            slope = slope * active[position - 1]
    gradient = np.empty_like(slope)
    np.put_along_axis(gradient, order, slope, axis=1)
    return value[:, 0], gradient


def objective(guard: MemGuard, logits: np.ndarray, own: np.ndarray, labels: np.ndarray, small: float) -> np.ndarray:
    """The gradient of what the search for noise minimises (eq. 10-13).

    That is |h| + c2 max(0, best other logit - the label's) + c3 |softmax - own|_1, with h the attack classifier's logit.

    Args:
        guard: the attack classifier.
        logits: float64 [n, K], of the answers with noise.
        own: float64 [n, K], the model's own probabilities.
        labels: int64 [n], of the model.
        small: c3, the weight of little noise.

    Returns:
        float64 [n, K], with respect to ``logits``.
    """
    rows = np.arange(len(logits))
    probabilities = softmax(logits)
    judged, slope = member_logit(guard, probabilities)
    by_probability = np.sign(judged)[:, None] * slope + small * np.sign(probabilities - own)
    gradient: np.ndarray = probabilities * (
        by_probability - (probabilities * by_probability).sum(axis=1, keepdims=True)
    )
    others = logits.copy()
    others[rows, labels] = -np.inf
    best = others.argmax(axis=1)
    lost = KEEP_LABEL * (others[rows, best] > logits[rows, labels])
    gradient[rows, best] += lost
    gradient[rows, labels] -= lost
    return gradient


def misleading(guard: MemGuard, own: np.ndarray, labels: np.ndarray, small: float) -> tuple[np.ndarray, np.ndarray]:
    """Search for answers that the attack classifier judges the other way (Algorithm 1).

    Args:
        guard: the attack classifier.
        own: float64 [n, K], the model's own probabilities.
        labels: int64 [n], of the model, which are kept.
        small: weight c3 of little noise.

    Returns:
        Probabilities float64 [n, K], and bool [n], whether they were found; where not, they are the model's own.
    """
    start = np.log(np.maximum(own, _TINY))
    judged, _ = member_logit(guard, softmax(start))
    answers_near = own.copy()
    reached = np.zeros(len(own), dtype=bool)
    open_rows, logits = np.arange(len(own)), start.copy()
    for _ in range(STEPS):
        gradient = objective(guard, logits, own[open_rows], labels[open_rows], small)
        logits = logits - STEP * gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), _TINY)
        answers = softmax(logits)
        turned = member_logit(guard, answers)[0] * judged[open_rows] <= 0
        done = turned & (answers.argmax(axis=1) == labels[open_rows])
        answers_near[open_rows[done]], reached[open_rows[done]] = answers[done], True
        open_rows, logits = open_rows[~done], logits[~done]
        if not len(open_rows):
            break
    return answers_near, reached


def guarded(guard: MemGuard, probabilities: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """What is answered, with the model's own labels.

    The least noise that misleads the classifier is shown with the probability that keeps the expected L1 distance within
    ``epsilon`` (Jia et al., eq. 16), else the answer as it is. The inputs decide that draw: equal inputs get equal answers, so
    asking the same again tells nothing more. It is no secret: whoever moves an input by a rounding error draws anew.

    Args:
        guard: the attack classifier and the budget.
        probabilities: float32 [n, K], the model's own.
        inputs: [n, ...], as the model takes them.

    Returns:
        float32 [n, K].
    """
    own = probabilities.astype(np.float64)
    labels = own.argmax(axis=1)
    shown, waiting, small = own.copy(), np.arange(len(own)), SMALL
    while len(waiting) and small <= LARGEST_SMALL:
        near, reached = misleading(guard, own[waiting], labels[waiting], small)
        shown[waiting[reached]] = near[reached]
        waiting, small = waiting[reached], small * 10
    away = np.abs(shown - own).sum(axis=1)
    doubt, after = (np.abs(sigmoid(member_logit(guard, each)[0]) - 0.5) for each in (own, shown))
    chance = np.where(doubt <= after, 0.0, np.minimum(guard.epsilon / np.maximum(away, _TINY), 1.0))
    drawn = np.array([_uniform(row) for row in inputs])
    answered = np.where((drawn < chance)[:, None], shown, own).astype(np.float32)
    kept = answered.argmax(axis=1) == labels
    return np.where(kept[:, None], answered, probabilities).astype(np.float32)


def _uniform(row: np.ndarray) -> float:
    """A number in [0, 1) that the bytes of an input decide."""
    digest = hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [n, K] of logits [n, K].

    Args:
        logits: [n, K].

    Returns:
        [n, K], of the same dtype; rows sum to 1.
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of a logit.

    Args:
        logits: of any shape.

    Returns:
        In [0, 1], of the same shape.
    """
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
