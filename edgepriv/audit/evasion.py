"""How easily small perturbations change the label: crafted on a twin with gradients, counted on what really ships."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgepriv.audit.evidence import Bools
from edgepriv.audit.perturb import cross_entropy, fgsm, gradient, margin, pgd
from edgepriv.audit.statistics import wilson
from edgepriv.errors import UserError

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]
Craft = Callable[[Tensor, Tensor], Tensor]

# Shares of the examples above which a finding becomes a warning.
ZERO_GRADIENTS, SATURATED, DISAGREEING, RISING = 0.01, 0.1, 0.005, 0.005


def robustness(
    twin: nn.Module,
    predict: Predict,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    *,
    norm: str,
    eps: float,
    steps: int = 20,
    restarts: int = 1,
    eps_curve: Sequence[float] = (),
    seed: int = 0,
    batch: int = 256,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The JSON's ``robustness``: accuracy on clean inputs, under each attack, and in the worst case over all of them.

    Args:
        twin: float32 inputs in [0, 1] -> logits [n, K] with gradients; used in eval mode, on its own device.
        predict: the artifact, float32 [n, ...] -> probabilities [n, K]; it alone decides what is fooled.
        x: float32 [n, ...] in [0, 1]. y: int64 [n].
        norm: "linf" or "l2" (of the whole flattened example). eps: radius > 0 in input units.
        steps, restarts: of PGD, which runs on the cross-entropy from random starts and again on the margin between
            logits, there first from the clean input. An example counts as fooled if any try fools it.
        eps_curve: radii >= 0 for the curve of worst-case accuracy; each costs a PGD, and another on what withstood it.
        progress: called with (examples attacked, examples to attack in all).

    Without a twin there are no gradients: see ``left_out``. Raises UserError for bad arrays, radii or norm.
    """
    _check(x, y, norm, eps, eps_curve)
    device = next((tensor.device for tensor in [*twin.parameters(), *twin.buffers()]), torch.device("cpu"))
    generator = torch.Generator(device).manual_seed(seed)
    passes = 1 + 2 * restarts * (1 + len({*eps_curve} - {0, eps}))
    trial = _Trial(twin, predict, x, y, norm, steps, restarts, batch, generator, _Counter(progress, passes * len(x)))
    was_training = twin.training
    twin.eval()
    try:
        return _report(trial, eps, {float(radius) for radius in eps_curve})
    finally:
        twin.train(was_training)


def left_out(reason: str) -> dict[str, str]:
    """The JSON's ``left_out`` entry for a graph of which no twin can be made."""
    return {"name": "robustness", "reason": f"no gradients of this graph can be had: {reason}"}


class _Counter:
    """Adds up examples for ``progress``."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def add(self, examples: int) -> None:
        self.done += examples
        self.progress(self.done, self.total)


@dataclass(frozen=True, eq=False)
class _Trial:
    """What is attacked, with what strength."""

    twin: nn.Module
    predict: Predict
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    norm: str
    steps: int
    restarts: int
    batch: int
    generator: torch.Generator
    counter: _Counter

    def batches(self, index: npt.NDArray[np.intp]) -> Iterable[tuple[npt.NDArray[np.intp], Tensor, Tensor]]:
        """The examples at ``index`` in pieces: (their indices, inputs, labels), tensors on the twin's device."""
        for start in range(0, len(index), self.batch):
            part = index[start : start + self.batch]
            inputs, labels = (torch.from_numpy(array[part]).to(self.generator.device) for array in (self.x, self.y))
            yield part, inputs, labels

    def attacks(self, eps: float) -> dict[str, list[Craft]]:
        """Attacks by name, each a list of tries."""
        climb = partial(pgd, self.twin, norm=self.norm, eps=eps, steps=self.steps, generator=self.generator)
        aside = partial(climb, objective=margin)
        return {
            "fgsm": [partial(fgsm, self.twin, norm=self.norm, eps=eps)],
            "pgd": [climb] * self.restarts,
            # Where gradients are good, few steps get further from the clean input; a random start guards against bad ones.
            "pgd-margin": [partial(aside, random_start=False), *[aside] * (self.restarts - 1)],
        }

    def withstands(self, tries: Sequence[Craft], candidates: Bools) -> Bools:
        """Which candidates (mask [n]) the artifact still labels rightly after every try."""
        held = candidates.copy()
        for craft in tries:
            index = np.flatnonzero(held)
            self.counter.add(len(held) - len(index))
            for part, inputs, labels in self.batches(index):
                adversarial = craft(inputs, labels).cpu().numpy()
                held[part] = self.predict(adversarial).argmax(axis=1) == self.y[part]
                self.counter.add(len(part))
        return held


def _report(trial: _Trial, eps: float, radii: set[float]) -> dict[str, Any]:
    labels = trial.predict(trial.x).argmax(axis=1)
    right: Bools = labels == trial.y
    worst, attacks = right.copy(), []
    for name, tries in trial.attacks(eps).items():
        held = trial.withstands(tries, right)
        worst &= held
        attacks.append({"name": name, "robust_accuracy": float(held.mean()), **_interval(held)})
    accuracy = {0.0: float(right.mean()), float(eps): float(worst.mean())}
    for radius in sorted(radii - set(accuracy)):
        harder = trial.attacks(radius)
        accuracy[radius] = float(trial.withstands(harder["pgd"] + harder["pgd-margin"], right).mean())
    return {
        "norm": trial.norm,
        "eps": float(eps),
        "steps": trial.steps,
        "restarts": trial.restarts,
        "clean_accuracy": float(right.mean()),
        "clean_ci": _interval(right)["ci"],
        "attacks": attacks,
        "worst_case_accuracy": float(worst.mean()),
        **_interval(worst),
        "curve": [{"eps": radius, "accuracy": accuracy[radius]} for radius in sorted(radii)],
        "warnings": _doubts(trial, labels) + _rises(accuracy),
    }


def _interval(held: Bools) -> dict[str, Any]:
    return {"ci": list(wilson(int(held.sum()), len(held))), "n": len(held)}


def _doubts(trial: _Trial, labels: npt.NDArray[np.intp]) -> list[str]:
    """What makes white-box figures look better than they are; ``labels`` [n] are the artifact's on clean inputs."""
    flat, saturated, differ = 0, 0, 0
    for part, inputs, truth in trial.batches(np.arange(len(trial.x))):
        slope, logits = gradient(trial.twin, inputs, truth, cross_entropy)
        flat += int((slope.flatten(1) == 0).all(dim=1).sum())
        saturated += int((logits.softmax(dim=1).amax(dim=1) == 1).sum())
        differ += int((logits.argmax(dim=1).cpu().numpy() != labels[part]).sum())
    n, found = len(trial.x), []
    if flat / n > ZERO_GRADIENTS:
        found.append(
            f"zero gradients: the loss has no slope at {flat / n:.1%} of the examples, where attacks on it fail though "
            "the model need not be robust; trust pgd-margin, and try an attack that needs no gradients"
        )
    if saturated / n > SATURATED:
        found.append(
            f"softmax saturation: the largest probability is exactly 1 in float32 for {saturated / n:.1%} of the "
            "examples, which weakens attacks on the cross-entropy; trust pgd-margin"
        )
    if differ / n > DISAGREEING:
        found.append(
            f"twin and artifact disagree on the label of {differ / n:.1%} of the clean examples, so the gradients are "
            "partly another model's; robust accuracy may be too high"
        )
    if not np.array_equal(trial.predict(trial.x[: trial.batch]), trial.predict(trial.x[: trial.batch])):
        found.append("randomised output: the artifact answers equal inputs differently; figures are those of one draw")
    return found


def _rises(accuracy: dict[float, float]) -> list[str]:
    """Warns where a larger radius seems safer, which can only be a failure of the attack."""
    return [
        f"non-monotone curve: accuracy rises from {accuracy[small]:.3f} at eps {small:g} to {accuracy[large]:.3f} at "
        f"eps {large:g}, so the attack fails there; use more steps or restarts"
        for small, large in pairwise(sorted(accuracy))
        if accuracy[large] > accuracy[small] + RISING
    ]


def _check(x: npt.NDArray[Any], y: npt.NDArray[Any], norm: str, eps: float, eps_curve: Sequence[float]) -> None:
    if norm not in ("linf", "l2"):
        raise UserError(f"unknown norm {norm!r}: choose linf or l2")
    if not (0 < eps < np.inf and all(0 <= radius < np.inf for radius in eps_curve)):
        raise UserError(f"perturbation radii must be finite and positive, got eps {eps} and curve {list(eps_curve)}")
    if x.dtype != np.float32 or y.dtype != np.int64 or not len(x) or y.shape != x.shape[:1]:
        shapes = f"{x.dtype} {x.shape} and {y.dtype} {y.shape}"
        raise UserError(f"expected float32 inputs [n >= 1, ...] and int64 labels [n], got {shapes}")
    if not (x.min() >= 0 and x.max() <= 1):
        raise UserError(f"inputs must lie in [0, 1], found {x.min():g}..{x.max():g}")
