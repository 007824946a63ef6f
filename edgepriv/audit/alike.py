"""Do the models that the attacker trained behave like the target?

Every figure of an attack with reference or shadow models rests on it: where the target was pretrained, partly frozen, or
trained longer than they were, the attack compares it with models of another kind, finds less, and the audit flatters. What
can be compared without knowing how the target was made is how often it is right, on what it was trained on and on what it
was not.
"""

from typing import Any

import numpy as np

from edgepriv.audit.answers import Bools
from edgepriv.audit.references import Fleet, candidates_of
from edgepriv.audit.run import Target, answers
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError

WARNED, FAR = 0.03, 0.10
"""Differences of accuracy beyond which, if they are beyond noise too, a warning is due, and the audit stops."""
NOISE = 3.0
"""Standard errors that count as noise."""
ENOUGH = 4
"""Models from which on their spread is known well enough to stop an audit; fewer warn."""
SMALLEST_SPREAD = 0.01
"""Of the accuracy of equally trained models: what few of them show may be less."""
SAME_SIZE = 0.8
"""A shadow model that was trained on a smaller share than this of what the target was is expected to be worse."""
_SIDES = {"members": "what they were trained on", "non_members": "held-out records"}


def likeness(target: Target, dataset: Dataset, split: Split, fleet: Fleet) -> dict[str, Any] | None:
    """Accuracy of the target and of the attacker's models on members and non-members.

    Args:
        target: the opened model.
        dataset: the examples.
        split: who is a member of the target.
        fleet: the attacker's models. Without reference models the shadow model counts.

    Returns:
        ``by``: "reference models" or "shadow model"; ``models``: how many. For ``members`` and ``non_members``: ``target``,
        ``models`` (mean) and ``noise`` (three standard errors of their difference), as fractions. None if no model was trained
        on about as many examples as the target.
    """
    candidates = candidates_of(split)
    member = np.arange(len(candidates)) < len(split.members)
    right = answers(target, dataset, candidates).argmax(axis=1) == dataset.y[candidates]
    if fleet.references is not None:
        trained_on, by, theirs = fleet.references.member, "reference models", fleet.right
    elif fleet.shadow is not None and fleet.shadow.member.sum() >= SAME_SIZE * len(split.members):
        trained_on, by = fleet.shadow.member[None], "shadow model"
        theirs = (fleet.shadow.outputs.probabilities.argmax(axis=1) == fleet.shadow.outputs.labels)[None]
    else:
        return None
    return {
        "by": by,
        "models": len(theirs),
        "members": _side(right[member], theirs, trained_on),
        "non_members": _side(right[~member], theirs, ~trained_on),
    }


def _side(right: Bools, theirs: Bools, asked: Bools) -> dict[str, float] | None:
    each = np.array([row[mask].mean() for row, mask in zip(theirs, asked, strict=True) if mask.any()])
    if not len(each):
        return None
    spread = max(float(each.std(ddof=1)) if len(each) > 1 else 2 * SMALLEST_SPREAD, SMALLEST_SPREAD)
    drawn = sum(_of_drawing(hits, n) for hits, n in ((right.sum(), len(right)), _union(theirs, asked)))
    noise = NOISE * float(np.sqrt(spread**2 * (1 + 1 / len(each)) + drawn))
    return {"target": float(right.mean()), "models": float(each.mean()), "noise": noise}


def _union(theirs: Bools, asked: Bools) -> tuple[float, int]:
    """Share of right answers, as hits among the examples that any of the models was asked about."""
    n = int(asked.any(axis=0).sum())
    return float(theirs[asked].mean()) * n, n


def _of_drawing(hits: float, n: int) -> float:
    share = (hits + 1) / (n + 2)
    return share * (1 - share) / n


def differences(compared: dict[str, Any] | None, bound: float) -> list[str]:
    """Where accuracies differ by more than a bound and more than noise.

    Args:
        compared: of ``likeness``; None for nothing.
        bound: as a fraction.

    Returns:
        One sentence for each side.
    """
    if compared is None:
        return []
    sentences = []
    for side, name in _SIDES.items():
        here = compared[side]
        if here is None:
            continue
        apart = abs(here["target"] - here["models"])
        if apart > bound and apart > here["noise"]:
            sentences.append(
                f"of {name}, the target classifies {here['target']:.1%} right, the {compared['by']} {here['models']:.1%}"
            )
    return sentences


TRAINED_HERE = "the models that the audit trained to compare with"
FROM_RANDOM = "from random weights"


def _remedy(origin: str) -> str:
    """What to do where models that began in an assumed way are not like the target."""
    if origin == FROM_RANDOM:
        return (
            "if the target was fine-tuned from public weights, name their file with --start-weights; --trainer brings your own "
            "training"
        )
    return "--trainer brings your own training"


def refuse_unlike(compared: dict[str, Any] | None, origin: str = "", who: str = TRAINED_HERE) -> None:
    """Refuse reference models that are far from the target.

    Args:
        compared: of ``likeness``; None is accepted.
        origin: what the models were trained from, such as ``FROM_RANDOM``, where their recipe is a guess at the target's;
            else empty.
        who: the models, for the message.

    Raises:
        UserError: where accuracies differ by more than ``FAR``.
    """
    far = differences(compared, FAR)
    if compared is None or compared["models"] < ENOUGH or not far:
        return
    why = ""
    if origin:
        why = (
            "how the target was trained first is not known, and these models were trained "
            f"{origin} by a recipe that was assumed: {_remedy(origin)}; "
        )
    raise UserError(
        f"{who} do not behave like the target: {'; '.join(far)}; {why}an audit with "
        "them would understate the leakage. Audit with --attacks quick, which trains nothing, or continue with "
        "--accept-weak-references and read every figure of attacks with reference or shadow models as a lower bound"
    )


def warnings_of(compared: dict[str, Any] | None, origin: str = "") -> list[str]:
    """What the audit says of models that should be like the target.

    Args:
        compared: of ``likeness``.
        origin: as for ``refuse_unlike``.

    Returns:
        Sentences; none where all is well.
    """
    warnings = []
    unlike = differences(compared, 0.0 if origin else WARNED)
    if origin:
        apart = f" Their accuracy is not the target's ({'; '.join(unlike)}): {_remedy(origin)}" if unlike else ""
        warnings.append(
            "how the target was trained first is not known: the models to compare with were trained "
            f"{origin} by a recipe that was assumed, so attacks with reference or shadow models may find less than a real "
            f"attacker does.{apart}".removesuffix(".")
        )
    elif unlike:
        warnings.append(
            f"the models to compare with do not quite behave like the target ({'; '.join(unlike)}): figures of attacks with "
            "reference or shadow models may be too low"
        )
    return warnings
