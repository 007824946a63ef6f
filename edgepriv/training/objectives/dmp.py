"""DMP: a model distilled on examples of which nobody is a member (Shejwalkar & Houmansadr 2021, section 4)."""

import math
from typing import Any

import torch
from torch import Tensor

from edgepriv.errors import UserError
from edgepriv.recipe.defences.dmp import Dmp
from edgepriv.training.examples import Examples
from edgepriv.training.objectives.base import Asked, Ground, Objective, Retraining
from edgepriv.training.soft_labels import entropies, probabilities_to

FEWEST = 2
TOO_MANY_COPIES = (
    "DMP distils on the privacy holdout, and fewer than two of its examples are no copies of members or others: leave repeated "
    "examples out of the data, or name public ones with --public npz:FILE"
)


def objective(asked: Asked) -> Objective:
    """With the recipe's reference examples.

    Args:
        asked: which stage of which recipe.

    Returns:
        What the defence does in it.
    """
    own = asked.recipe.own(Dmp)

    def refuse(ground: Ground) -> None:
        if own.file is None and own.share * ground.holdout < FEWEST:
            raise UserError(
                f"DMP distils on the privacy holdout, and {own.share:g} of its {ground.holdout} examples are too few: set "
                "data.holdout higher in the recipe of edgepriv train, or name public examples with --public npz:FILE"
            )

    return Objective(
        retrained=lambda given: distilled_elsewhere(given, own.share),
        refuse=refuse,
        title="reference examples",
        remedy="more reference examples (--public), or a --dmp nearer to 1",
    )


def distilled_elsewhere(given: Retraining, share: float) -> tuple[Examples, dict[str, Any]]:
    """The reference examples under the teacher's answers, those of lowest entropy.

    Low entropy of the teacher's answer to an example means that members weigh less on it (section 4.2, equation 9).

    Args:
        given: teacher and reference examples: the public ones where there are any, else the holdout.
        share: of them that is kept, in (0, 1].

    Returns:
        Reference examples with soft labels float32 [M, K], and what was measured.
    """
    x, left_out = _held_out(given) if given.public is None else (given.public, 0)
    if left_out and len(x) < FEWEST:
        raise UserError(TOO_MANY_COPIES)
    count = max(FEWEST, math.ceil(share * len(x)))
    soft = probabilities_to(given.teacher, x).float()
    chosen = entropies(soft).argsort(stable=True)[:count].sort().values
    kept = soft[chosen]
    return Examples(x[chosen], kept), {
        "examples": len(x),
        "used": count,
        "origin": "privacy holdout" if given.public is None else "public file",
        "mean_entropy": round(float(entropies(kept).mean()), 6),
        **({"left_out": left_out} if left_out else {}),
    }


def _held_out(given: Retraining) -> tuple[Tensor, int]:
    """The holdout without copies of members and of others whom the audit asks about, and how many these are."""
    copied = None if given.copied is None else given.copied()
    if copied is None or not copied.any():
        return given.holdout.x, 0
    return given.holdout.x[torch.from_numpy(~copied)], int(copied.sum())
