"""How easily small perturbations change the label: crafted on a twin with gradients, counted on what really ships."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgepriv.audit import blackbox
from edgepriv.audit.answers import Bools
from edgepriv.audit.statistics import wilson
from edgepriv.errors import UserError
from edgepriv.training.pgd import cross_entropy, fgsm, gradient, margin, norm_of, perturbed, pgd_budget

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]
Craft = Callable[[Tensor, Tensor], Tensor]

# Shares of the examples above which a finding becomes a warning, or, of the first, ends the trust in gradients.
ZERO_GRADIENTS, DISAGREEING, RISING, BEATEN = 0.01, 0.005, 0.005, 0.002
LARGEST_LEAD = 15.0
"""Of one logit over the others, beyond which all are divided by one number: float32 knows no slope of a softmax there."""


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

    Where the gradients of more than ``ZERO_GRADIENTS`` of the examples vanish, are not finite, or show less than an attack
    without any, ``worst_case_accuracy`` is None and ``at_most`` holds what is known: the accuracy that all attacks leave,
    among them one that needs no gradients. Without a twin there are none: see ``without_gradients``.

    Raises:
        UserError: for bad arrays, radii or norm.
    """
    _check(x, y, norm, eps, eps_curve)
    device = next((tensor.device for tensor in [*twin.parameters(), *twin.buffers()]), torch.device("cpu"))
    passes = 1 + 2 * restarts * (1 + len({*eps_curve} - {0, eps}))
    was_training = twin.training
    twin.eval()
    rounding = tuple(getattr(twin, "straight_through", ()))
    tempered = _Tempered(twin)
    counter = _Counter(progress, passes * len(x))
    trial = _Trial(tempered, predict, x, y, norm, steps, restarts, batch, device, counter, rounding, seed)
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
    """As ``robustness``, of a graph of which no twin can be made for the ``reason``: an upper bound, ``at_most``, by an
    attack that needs labels alone; ``worst_case_accuracy`` is None and ``warnings`` says why."""
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


class _Tempered(nn.Module):
    """A twin's logits over one number, which moves no label, so that the softmax of the clean inputs is not exactly 1."""

    def __init__(self, twin: nn.Module) -> None:
        super().__init__()
        self.twin, self.temperature = twin, 1.0

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        leads = torch.cat([_lead(self.twin(inputs)) for inputs in batches])
        leads = leads[leads.isfinite()]
        if len(leads):
            self.temperature = max(1.0, float(leads.quantile(0.9)) / LARGEST_LEAD)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.twin(x)
        scaled: Tensor = logits if self.temperature == 1 else logits / self.temperature
        return scaled


def _lead(logits: Tensor) -> Tensor:
    """Of the largest logit over the second [n]."""
    largest = logits.topk(2, dim=1).values
    return (largest[:, 0] - largest[:, 1]).float().cpu()


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
    device: torch.device
    counter: _Counter
    rounding: tuple[str, ...] = ()
    seed: int = 0

    @cached_property
    def generator(self) -> torch.Generator:
        """Of the random starts, each attack's after the other's."""
        return torch.Generator().manual_seed(self.seed)

    def batches(self, index: npt.NDArray[np.intp]) -> Iterable[tuple[npt.NDArray[np.intp], Tensor, Tensor]]:
        """The examples at ``index`` in pieces: (their indices, inputs, labels), tensors on the twin's device."""
        for start in range(0, len(index), self.batch):
            part = index[start : start + self.batch]
            inputs, labels = (torch.from_numpy(array[part]).to(self.device) for array in (self.x, self.y))
            yield part, inputs, labels

    def attacks(self, eps: float) -> dict[str, list[Craft]]:
        """Attacks by name, each a list of tries."""
        budget = pgd_budget(self.norm, eps, self.steps)
        climb = partial(perturbed, self.twin, budget=budget, generator=self.generator, keep_best=True)
        aside = partial(climb, objective=margin)
        return {
            "fgsm": [partial(fgsm, self.twin, norm=self.norm, eps=eps)],
            "pgd": [climb] * self.restarts,
            # Where gradients are good, few steps get further from the clean input; a random start guards against bad ones.
            "pgd-margin": [partial(aside, generator=None), *[aside] * (self.restarts - 1)],
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
    doubts, masked = _doubts(trial, labels, right)
    doubts += _rises(accuracy)
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


def _doubts(trial: _Trial, labels: npt.NDArray[np.intp], right: Bools) -> tuple[list[str], bool]:
    """What makes white-box figures look better than they are, and whether it is that the gradients are masked.

    ``labels`` [n] are the artifact's on clean inputs, ``right`` [n] tells which of them are.
    """
    flat, differ, broken = 0, 0, 0
    for part, inputs, truth in trial.batches(np.arange(len(trial.x))):
        slopes = [gradient(trial.twin, inputs, truth, objective) for objective in (cross_entropy, margin)]
        leads = [torch.nan_to_num(slope, posinf=0, neginf=0).flatten(1).abs().amax(dim=1) > 0 for slope, _ in slopes]
        infinite = (
            torch.stack([~slope.isfinite().flatten(1).all(dim=1) for slope, _ in slopes]).any(dim=0).cpu().numpy()
        )
        none = ~torch.stack(leads).any(dim=0).cpu().numpy()
        broken += int((infinite & right[part]).sum())
        flat += int((none & ~infinite & right[part]).sum())
        differ += int((slopes[0][1].argmax(dim=1).cpu().numpy() != labels[part]).sum())
    n, reasons = len(trial.x), []
    of = max(1, int(right.sum()))
    for count, what in ((flat, "no slope at all"), (broken, "a slope that is not a finite number")):
        if count / of > ZERO_GRADIENTS:
            reasons.append(
                f"masked gradients: the model has {what} at {count / of:.1%} of the correctly classified examples, where "
                "gradient attacks fail even if the model is not robust; the worst case is not known"
            )
    masked = bool(reasons)
    if trial.rounding:
        more = f" and {len(trial.rounding) - 2} more" if len(trial.rounding) > 2 else ""
        reasons.append(
            f"the model rounds inside ({', '.join(trial.rounding[:2])}{more}): gradients are computed as if it did not, and an "
            "attack without gradients was run as well"
        )
    if differ / n > DISAGREEING:
        reasons.append(
            f"twin and artifact disagree on the label of {differ / n:.1%} of the clean examples, so the gradients are "
            "partly another model's; robust accuracy may be too high"
        )
    if not np.array_equal(trial.predict(trial.x[: trial.batch]), trial.predict(trial.x[: trial.batch])):
        reasons.append(
            "randomised output: the artifact gives different answers to equal inputs; the figures are of one run"
        )
    return reasons, masked


def _rises(accuracy: dict[float, float]) -> list[str]:
    """Warns where a larger radius seems safer, which can only be a failure of the attack."""
    return [
        f"non-monotone curve: accuracy rises from {accuracy[small]:.3f} at eps {small:g} to {accuracy[large]:.3f} at "
        f"eps {large:g}, so the attack fails there; use more steps or restarts"
        for small, large in pairwise(sorted(accuracy))
        if accuracy[large] > accuracy[small] + RISING
    ]


def _check(x: npt.NDArray[Any], y: npt.NDArray[Any], norm: str, eps: float, eps_curve: Sequence[float]) -> None:
    norm_of(norm)
    if not (0 < eps < np.inf and all(0 <= radius < np.inf for radius in eps_curve)):
        raise UserError(f"perturbation radii must be finite and positive, got eps {eps} and curve {list(eps_curve)}")
    if x.dtype != np.float32 or y.dtype != np.int64 or not len(x) or y.shape != x.shape[:1]:
        shapes = f"{x.dtype} {x.shape} and {y.dtype} {y.shape}"
        raise UserError(f"expected float32 inputs [n >= 1, ...] and int64 labels [n], got {shapes}")
    if not (x.min() >= 0 and x.max() <= 1):
        raise UserError(f"inputs must lie in [0, 1] (they lie in {x.min():g}..{x.max():g})")
