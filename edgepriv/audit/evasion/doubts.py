"""What gradients tell of themselves: symptoms that make figures of robustness look better than they are, with remedies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from edgepriv.audit.answers import Bools
from edgepriv.audit.evasion.trial import Trial
from edgepriv.training.pgd import cross_entropy, gradient, margin

# Shares of the examples above which a finding becomes a warning, or, of the first, ends the trust in gradients.
ZERO_GRADIENTS, DISAGREEING, BEATEN = 0.01, 0.005, 0.002
MISLED = 0.02
"""Share of the examples that an attack without gradients must fool beyond the others for the worst case to be unknown."""
TINY = 0.01
"""Of the lead of a label: where the slope says that not even a change of every feature from 0 to 1 takes more off it."""
CERTAIN, SATURATED = 17.0, 0.5
"""Lead of a logit from which a float32 softmax is exactly 1, and the share of examples with such a lead that is said."""


@dataclass(frozen=True)
class Gradients:
    """Shares of the rightly labelled examples: without any slope (``flat``), with one that is not a number (``broken``), with
    one too small to matter (``tiny``). ``saturated``: of them, where the softmax is exactly 1. ``differ``: of all examples,
    where twin and file disagree on the label. ``temperature``: what attacks divide the logits by. ``classes``: of the twin."""

    flat: float
    broken: float
    tiny: float
    saturated: float
    differ: float
    temperature: float
    classes: int


def gradients(trial: Trial, labels: npt.NDArray[np.intp], right: Bools) -> Gradients:
    """What gradients show on clean inputs.

    Args:
        trial: what is attacked.
        labels: int [n], the file's.
        right: bool [n], which of these are right.

    Returns:
        What was checked.
    """
    counts, classes = np.zeros(5), 0
    for part, inputs, truth in trial.batches(np.arange(len(trial.x))):
        slopes = [gradient(trial.twin, inputs, truth, objective) for objective in (cross_entropy, margin)]
        logits = slopes[0][1]
        sizes = [torch.nan_to_num(slope, posinf=0, neginf=0).flatten(1).abs() for slope, _ in slopes]
        finite = torch.stack([slope.isfinite().flatten(1).all(dim=1) for slope, _ in slopes]).all(dim=0)
        some = torch.stack([size.amax(dim=1) > 0 for size in sizes]).any(dim=0)
        lead = -margin(logits, truth)
        tiny = sizes[1].sum(dim=1) < TINY * lead
        certain = lead * trial.twin.temperature > CERTAIN
        of = torch.from_numpy(right[part]).to(finite.device)
        for place, symptom in enumerate((finite & ~some & of, ~finite & of, finite & some & tiny & of, certain & of)):
            counts[place] += int(symptom.sum())
        counts[4] += int((logits.argmax(dim=1).cpu().numpy() != labels[part]).sum())
        classes = logits.shape[1]
    shares = counts[:4] / max(1, int(right.sum()))
    flat, broken, tiny, saturated = shares.tolist()
    return Gradients(flat, broken, tiny, saturated, float(counts[4] / len(trial.x)), trial.twin.temperature, classes)


def masked(gradients: Gradients) -> list[str]:
    """Why gradients are of no use.

    Args:
        gradients: as they were checked.

    Returns:
        Sentences; none where they are of use.
    """
    symptoms = ((gradients.flat, "no slope at all"), (gradients.broken, "a slope that is not a finite number"))
    return [
        f"masked gradients: the model has {what} at {share:.1%} of the examples that it labels rightly, where attacks along "
        "gradients fail though the model need not be robust; the worst case is not known. Audit the file without what masks "
        "them (--cut-head for a head), or rely on what is known at most"
        for share, what in symptoms
        if share > ZERO_GRADIENTS
    ]


def of_model(trial: Trial, checked: Gradients, rounding: Sequence[str]) -> list[str]:
    """What is known of the model before any attack.

    Args:
        trial: what is attacked.
        checked: its gradients.
        rounding: operators that round.

    Returns:
        Sentences.
    """
    lines = []
    if checked.tiny > ZERO_GRADIENTS:
        lines.append(
            f"tiny gradients: at {checked.tiny:.1%} of the examples the slope is too small to change any label, as where a "
            "function is nearly flat; attacks along gradients may fail there though the model need not be robust. Compare "
            "with an attack that needs none (--robust autoattack runs Square)"
        )
    if checked.saturated > SATURATED:
        lines.append(
            f"saturated softmax: at {checked.saturated:.1%} of the examples the largest probability is exactly 1 in float32, "
            f"where the cross-entropy has no slope; attacks climb on logits divided by {checked.temperature:.3g}, and on "
            "margins, which do not saturate"
        )
    if rounding:
        more = f" and {len(rounding) - 2} more" if len(rounding) > 2 else ""
        lines.append(
            f"the model rounds inside ({', '.join(rounding[:2])}{more}): gradients are taken as if it did not, and an "
            "attack that needs none was run beside"
        )
    if checked.differ > DISAGREEING:
        lines.append(
            f"twin and artifact disagree on the label of {checked.differ:.1%} of the clean examples, so the gradients are "
            "partly another model's; robust accuracy may be too high. Export with --compute float where int8 is the reason, "
            "and compare with Square (--robust autoattack)"
        )
    return lines


def beaten(name: str, attacked: Bools, held: Bools) -> tuple[list[str], bool]:
    """Whether an attack without gradients does better than those with.

    Args:
        name: of the attack.
        attacked: bool [n], who withstood those with.
        held: bool [n], who of these withstood it too.

    Returns:
        The warning, and whether the worst case is unknown for it.
    """
    asked, fooled = int(attacked.sum()), int((attacked & ~held).sum())
    # As a share of all examples, where only some of those that still stood were attacked.
    standing = asked + int((~attacked & held).sum())
    share = fooled / max(1, asked) * standing / len(attacked)
    if share <= BEATEN:
        return [], False
    unknown = share > MISLED
    means = (
        ", so the worst case is not known"
        if unknown
        else ": the gradients may be masked in part, and robust accuracy too high. Look at what the model does to its "
        "inputs, and take the figure for an upper bound"
    )
    return [
        f"gradients mislead: an attack that needs none ({name}) fools {fooled:,} of the {asked:,} examples that it was "
        f"made against, which attacks along the gradients do not fool{means}"
    ], unknown
