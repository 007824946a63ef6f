"""How easily small perturbations change the label: crafted on a twin with gradients, counted on what really ships."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgepriv.audit import blackbox
from edgepriv.audit.answers import Bools
from edgepriv.audit.gradient_checks import gradient_doubts, rising_accuracy
from edgepriv.audit.statistics import wilson
from edgepriv.audit.white_box import Counter, Predict, Tempered, Trial
from edgepriv.errors import UserError
from edgepriv.training.pgd import norm_of

BEATEN = 0.002
"""Share of the examples that an attack without gradients may fool beyond the others before gradients are called misleading."""


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
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.
        norm: "linf" or "l2" (of the whole flattened example).
        eps: radius > 0 in input units.
        steps: of PGD, which runs on the cross-entropy from random starts and again on the margin between logits, there
            first from the clean input.
        restarts: of PGD. An example counts as fooled if any attempt fools it.
        eps_curve: radii >= 0 for the curve of worst-case accuracy; each costs a PGD, and another on what withstood it.
        seed: of the random starts.
        batch: examples that are attacked at a time.
        progress: called with (examples attacked, examples to attack in all).

    Returns:
        The JSON. Where the gradients of more than ``gradient_checks.ZERO_GRADIENTS`` of the examples vanish, are not finite,
        or show less than an attack without gradients, ``worst_case_accuracy`` is None and ``at_most`` holds what is known:
        the accuracy that all attacks leave, among them one that needs no gradients.

    Raises:
        UserError: for bad arrays, radii or norm.
    """
    _check(x, y, norm, eps, eps_curve)
    device = next((tensor.device for tensor in [*twin.parameters(), *twin.buffers()]), torch.device("cpu"))
    passes = 1 + 2 * restarts * (1 + len({*eps_curve} - {0, eps}))
    was_training = twin.training
    twin.eval()
    rounding = tuple(getattr(twin, "straight_through", ()))
    tempered = Tempered(twin)
    counter = Counter(progress, passes * len(x))
    trial = Trial(tempered, predict, x, y, norm, steps, restarts, batch, device, counter, rounding, seed)
    try:
        tempered.fit(inputs for _, inputs, _ in trial.batches(np.arange(len(x))))
        return _report(trial, eps, {float(radius) for radius in eps_curve})
    finally:
        twin.train(was_training)


def without_gradients(
    predict: Predict,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    *,
    norm: str,
    eps: float,
    reason: str,
    seed: int = 0,
) -> dict[str, Any]:
    """As ``robustness``, for a graph without a twin: an upper bound by an attack that needs only labels.

    Args:
        predict: the artifact, float32 [n, ...] -> probabilities [n, K].
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the true classes.
        norm: "linf" or "l2".
        eps: radius > 0 in input units.
        reason: why there is no twin; it goes into ``warnings``.
        seed: of the attack.

    Returns:
        The JSON; ``worst_case_accuracy`` is None, and ``at_most`` is the bound.

    Raises:
        UserError: for bad arrays, radii or norm.
    """
    _check(x, y, norm, eps, ())
    right: Bools = predict(x).argmax(axis=1) == y
    held = blackbox.withstands(lambda moved: predict(moved).argmax(axis=1), x, y, right, norm=norm, eps=eps, seed=seed)
    return {
        "norm": norm,
        "eps": float(eps),
        "clean_accuracy": float(right.mean()),
        "clean_ci": _interval(right)["ci"],
        "attacks": [{"name": blackbox.NAME, "robust_accuracy": float(held.mean()), **_interval(held)}],
        "worst_case_accuracy": None,
        "ci": None,
        "at_most": float(held.mean()),
        "n": len(x),
        "curve": [],
        "warnings": [f"the gradients of this graph cannot be computed: {reason}"],
    }


def _report(trial: Trial, eps: float, radii: set[float]) -> dict[str, Any]:
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
    doubts, masked = gradient_doubts(trial, labels, right)
    doubts += rising_accuracy(accuracy)
    if masked or trial.rounding:
        held = blackbox.withstands(
            lambda moved: trial.predict(moved).argmax(axis=1),
            trial.x,
            trial.y,
            right,
            norm=trial.norm,
            eps=eps,
            seed=trial.seed,
        )
        attacks.append({"name": blackbox.NAME, "robust_accuracy": float(held.mean()), **_interval(held)})
        beaten = float((worst & ~held).mean())
        worst &= held
        accuracy[float(eps)] = float(worst.mean())
        if beaten > BEATEN and not masked:
            masked = True
            doubts.append(
                f"gradients mislead: an attack that needs none fools {beaten:.1%} of the examples that attacks along the "
                "gradients do not, so the worst case is not known"
            )
    return {
        "norm": trial.norm,
        "eps": float(eps),
        "steps": trial.steps,
        "restarts": trial.restarts,
        "clean_accuracy": float(right.mean()),
        "clean_ci": _interval(right)["ci"],
        "attacks": attacks,
        "worst_case_accuracy": None if masked else float(worst.mean()),
        **(_interval(worst) | ({"ci": None, "at_most": float(worst.mean())} if masked else {})),
        "curve": [] if masked else [{"eps": radius, "accuracy": accuracy[radius]} for radius in sorted(radii)],
        "warnings": doubts,
    }


def _interval(held: Bools) -> dict[str, Any]:
    return {"ci": list(wilson(int(held.sum()), len(held))), "n": len(held)}


def _check(x: npt.NDArray[Any], y: npt.NDArray[Any], norm: str, eps: float, eps_curve: Sequence[float]) -> None:
    norm_of(norm)
    if not (0 < eps < np.inf and all(0 <= radius < np.inf for radius in eps_curve)):
        raise UserError(f"perturbation radii must be finite and positive, got eps {eps} and curve {list(eps_curve)}")
    if x.dtype != np.float32 or y.dtype != np.int64 or not len(x) or y.shape != x.shape[:1]:
        shapes = f"{x.dtype} {x.shape} and {y.dtype} {y.shape}"
        raise UserError(f"expected float32 inputs [n >= 1, ...] and int64 labels [n], got {shapes}")
    if not (x.min() >= 0 and x.max() <= 1):
        raise UserError(f"inputs must lie in [0, 1] (they lie in {x.min():g}..{x.max():g})")
