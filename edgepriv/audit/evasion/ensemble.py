"""How easily small perturbations change the label: crafted on a twin with gradients, counted on what really ships."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgepriv.artifact.batches import steadiness
from edgepriv.audit import blackbox
from edgepriv.audit.answers import Bools
from edgepriv.audit.clustered import Groups
from edgepriv.audit.evasion import doubts, remarks
from edgepriv.audit.evasion.attacked import Attacked
from edgepriv.audit.evasion.attacks import EVASIONS, FGSM, LEVELS, SQUARE
from edgepriv.audit.evasion.grid import below_a_level, refuse_below_a_level
from edgepriv.audit.evasion.kept import Kept
from edgepriv.audit.evasion.rows import interval, outcomes_of, row
from edgepriv.audit.evasion.scores import averaged, scores_of
from edgepriv.audit.evasion.setting import Setting, check
from edgepriv.audit.evasion.trial import DRAWS, Counter, Craft, Inputs, Predict, Trial
from edgepriv.errors import UserError

Progress = Callable[[int, int], None]

SMALLER = "smaller eps"
"""The row of what only the attacks of the curve's smaller radii fool."""


# What is attacked, by what, how hard, and what is kept: the settings of a run, each of which a test varies by itself.
def robustness(
    twin: nn.Module,
    predict: Predict,
    x: Inputs,
    y: npt.NDArray[np.int64],
    *,
    norm: str,
    eps: float,
    level: str = "quick",
    steps: int = 20,
    restarts: int = 1,
    eps_curve: Sequence[float] = (),
    seed: int = 0,
    batch: int = 256,
    setting: Setting | None = None,
    kept: Kept | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """The JSON's ``robustness``: accuracy on clean inputs, under each attack, and in the worst case over all of them.

    Args:
        twin: float32 inputs in [0, 1] -> logits [n, K] with gradients; used in eval mode, on its own device.
        predict: the artifact, float32 [n, ...] -> probabilities [n, K]; it alone decides what is fooled.
        x: float32 [n, ...] in [0, 1].
        y: int64 [n], the labels.
        norm: "linf" or "l2" (of the whole flattened example).
        eps: radius > 0 in input units.
        level: a key of ``LEVELS``. Every attack is made only against what withstood those before it: its
            ``robust_accuracy`` is what is left after it, of ``attacked`` examples.
        steps: of PGD.
        restarts: of PGD, which runs on the cross-entropy from random starts and again on the margin between
            logits, there first from the clean input. An example counts as fooled if any try fools it.
        eps_curve: radii >= 0 for the curve of worst-case accuracy; each costs a PGD, and another on what withstood it.
        seed: of the random starts.
        batch: examples attacked at a time.
        setting: what the file allows beside; None for everything.
        kept: outcomes of attacks that have ended already, which are not run again; those of this run are added.
        progress: called with (passes done, passes in all), each forwards and backwards through the model for one example.

    Returns:
        The part of the audit's JSON. Where the gradients of more than ``ZERO_GRADIENTS`` of the examples vanish, are not
        finite, or show much less than an attack without any, ``worst_case_accuracy`` is None and ``at_most`` holds what is
        known: the accuracy that all attacks leave, among them one that needs no gradients. Without a twin there are none:
        see ``without_gradients``.

    Raises:
        UserError: for bad arrays, radii, norm or level.
    """
    check(x, y, norm, eps, eps_curve)
    if level not in LEVELS:
        raise UserError(f"unknown level of attacks {level!r}: known are {', '.join(LEVELS)}")
    setting = setting or Setting()
    if setting.bytes_in:
        refuse_below_a_level(eps)
    device = next((tensor.device for tensor in [*twin.parameters(), *twin.buffers()]), torch.device("cpu"))
    free = None if setting.free is None else torch.from_numpy(setting.free).to(device)
    steady = steadiness(lambda asked: predict(np.ascontiguousarray(asked)), x, setting.tolerance)
    random = not np.array_equal(predict(x[:batch]), predict(x[:batch]))
    attacked = Attacked(twin, free)
    was_training = twin.training
    twin.eval()
    try:
        predict = averaged(predict, DRAWS if random else 1)
        scores, climbs_on = scores_of(attacked, predict, x[:batch], setting.head, device)
        trial = Trial(
            attacked, predict, scores, x, y, norm, steps, restarts, batch, device, seed,
            Counter(progress), setting.free, setting.bytes_in, setting.rows, setting.groups,
        )  # fmt: skip
        attacked.fit(inputs for _, inputs, _ in trial.batches(np.arange(len(x))))
        noted = [*remarks.of_answers(random, steady), *remarks.of_radius(x, norm, eps)]
        noted += remarks.of_scores(climbs_on, setting.head)
        rounding = _rounding(twin)
        told = {"level": level, "head": setting.head, "square_asks": climbs_on if SQUARE in LEVELS[level] else None}
        return told | _report(trial, LEVELS[level], eps, {float(r) for r in eps_curve}, rounding, noted, kept or Kept())
    finally:
        twin.train(was_training)


@dataclass
class _Tally:
    """Who still stands, bool [n], after the attacks of ``rows``; ``groups``: whose records they are. ``blind``: of those that
    use no gradients, the name, whom they attacked and who withstood."""

    standing: Bools
    groups: Groups
    rows: list[dict[str, Any]] = field(default_factory=list)
    blind: list[tuple[str, Bools, Bools]] = field(default_factory=list)

    def add(self, name: str, attacked: Bools, held: Bools, *, blind: bool = False) -> None:
        """Count an attack on those ``attacked``, which ``held`` withstood."""
        self.rows.append(row(name, attacked, held, self.groups))
        if blind:
            self.blind.append((name, attacked, held))
        self.standing = held


def _report(
    trial: Trial,
    names: Sequence[str],
    eps: float,
    radii: set[float],
    rounding: tuple[str, ...],
    noted: list[str],
    kept: Kept,
) -> dict[str, Any]:
    """Run the attacks ``names``, then those of the curve's ``radii``, and judge what they found."""
    labels = trial.labels(trial.x)
    right: Bools = labels == trial.y
    checked = doubts.gradients(trial, labels, right)
    reasons = doubts.masked(checked)
    clean = {0.0: float(right.mean())}
    # A file of bytes changes by whole levels: nothing moves within less than one.
    clean |= {radius: clean[0.0] for radius in radii if trial.bytes_in and below_a_level(radius)}
    attacks = {name: EVASIONS[name](trial.within(eps), eps, checked.classes) for name in names}
    curves = {radius: _of_curve(trial, radius, checked.classes) for radius in sorted(radii - {*clean, float(eps)})}
    planned = [craft for tries in (*attacks.values(), *curves.values()) for craft in tries]
    trial.counter.expect(len(trial.x) * (1 + sum(craft.passes for craft in planned)))
    tally = _Tally(right.copy(), trial.groups)
    for name, tries in attacks.items():
        held = _ended(kept, name, tally.standing, partial(trial.withstands, tries, tally.standing, eps))
        tally.add(name, tally.standing, held, blind=name == SQUARE)
    raw = clean | {float(eps): float(tally.standing.mean())}
    outcomes = {
        radius: _ended(kept, f"eps {radius!r}", right, partial(trial.withstands, tries, right, radius))
        for radius, tries in curves.items()
    }
    raw |= {radius: float(held.mean()) for radius, held in outcomes.items()}
    _add_smaller(tally, right, outcomes, eps)
    if reasons or rounding:
        _add_blackbox(tally, trial, eps)
    nested = clean | _nested(right, outcomes, eps, tally.standing)
    lines = [*reasons, *noted, *doubts.of_model(trial, checked, rounding)]
    lines += remarks.of_classes(checked.classes) if any(name.endswith("-t") for name in names) else []
    unknown = bool(reasons)
    for name, asked, held in tally.blind if not unknown else ():
        more, misled = doubts.beaten(name, asked, held)
        lines += more
        unknown |= misled
    fooled_by = {row["name"]: row["fooled"] for row in tally.rows}
    lines += [*remarks.rises(raw), *_above_clean(trial, ~right, fooled_by[FGSM], eps, checked.classes)]
    trial.counter.finish()
    worst = float(tally.standing.mean())
    return {
        "norm": trial.norm,
        "eps": float(eps),
        "steps": trial.steps,
        "restarts": trial.restarts,
        "clean_accuracy": float(right.mean()),
        "clean_ci": interval(right, trial.groups)["ci"],
        "attacks": tally.rows,
        "worst_case_accuracy": None if unknown else worst,
        **(interval(tally.standing, trial.groups) | ({"ci": None, "at_most": worst} if unknown else {})),
        "curve": [] if unknown else [{"eps": radius, "accuracy": nested[radius]} for radius in sorted(radii)],
        "outcomes": outcomes_of(right, tally.standing),
        "fixed_features": 0 if trial.free is None else int((~trial.free).sum()),
        "warnings": lines,
    }


def _above_clean(trial: Trial, wrong: Bools, fooled: int, eps: float, classes: int) -> list[str]:
    """Whether one step along the gradient, which fools so many, corrects more: attacks are made on right labels alone."""
    corrected = trial.withstands(EVASIONS[FGSM](trial.within(eps), eps, classes), wrong, eps)
    return remarks.above_clean(fooled / len(wrong), float(corrected.mean()))


def _add_smaller(tally: _Tally, right: Bools, outcomes: Mapping[float, Bools], eps: float) -> None:
    """Whatever fools within a radius does so within a larger one."""
    held = tally.standing & np.logical_and.reduce([right, *(held for radius, held in outcomes.items() if radius < eps)])
    if (tally.standing & ~held).any():
        tally.add(SMALLER, tally.standing, held)


def _add_blackbox(tally: _Tally, trial: Trial, eps: float) -> None:
    """An attack that needs labels alone, where gradients may mislead."""
    held, asked = blackbox.withstands(
        trial.labels,
        trial.x,
        trial.y,
        tally.standing,
        norm=trial.norm,
        eps=trial.radius(eps),
        seed=trial.seed,
        free=trial.free,
        fed=lambda x, moved: trial.fed(x, moved, eps),
    )
    tally.add(blackbox.NAME, asked, held, blind=True)


def _nested(right: Bools, outcomes: Mapping[float, Bools], eps: float, worst: Bools) -> dict[float, float]:
    """Radius -> accuracy of who stands within it and within every smaller one. ``worst``: who stands within ``eps``."""
    nested = {float(eps): float(worst.mean())}
    for start, beyond in ((right, False), (worst, True)):
        standing = start
        for radius in sorted(radius for radius in outcomes if (radius > eps) == beyond):
            standing = standing & outcomes[radius]
            nested[radius] = float(standing.mean())
    return nested


def _ended(kept: Kept, name: str, candidates: Bools, attack: Callable[[], Bools]) -> Bools:
    """Which candidates withstood an attack, that is run if it has not ended already."""
    held = kept.get(name)
    if held is None:
        held = attack()
        kept.keep(name, held)
    return held & candidates


def _rounding(twin: nn.Module) -> tuple[str, ...]:
    """Operators of the twin that round, wherever it stands in what is attacked."""
    return tuple(dict.fromkeys(name for part in twin.modules() for name in getattr(part, "straight_through", ())))


def _of_curve(trial: Trial, radius: float, classes: int) -> list[Craft]:
    within = trial.within(radius)
    return [craft for name in ("pgd", "pgd-margin") for craft in EVASIONS[name](within, radius, classes)]
