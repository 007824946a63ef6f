"""What was proven of a model beside what its attackers showed: the epsilon of differentially private training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgepriv.audit.statistics import ALPHA, epsilon_lower_bound


def compare_with_guarantee(
    dp: Mapping[str, Any], attacks: Sequence[Mapping[str, Any]], scores: Mapping[str, np.ndarray], seed: int
) -> dict[str, Any]:
    """Compare what attacks show with what differential privacy proves.

    Each bound leaves out the ``delta`` that the proof leaves open and holds at a confidence of 1 - 0.05 / (number of attacks),
    so that the largest of them holds at 95%.

    Args:
        dp: facts of the training, with ``epsilon`` and ``delta``.
        attacks: rows of the audit.
        scores: of the audit, by "threat model/attack".
        seed: of the halves that a bound is computed on.

    Returns:
        ``dp``, with the largest lower bound on epsilon that an attack shows, and which one's; and ``warning``: None, or the
        sentence that says that an attack has shown more than is proven possible.
    """
    member = scores["member"]
    shown: dict[str, Any] = {"lower_bound": 0.0, "attack": None, "threat_model": None}
    for row in attacks:
        name = f"{row['threat_model']}/{row['name']}"
        asked = scores.get(f"{name}/index", np.arange(len(member)))
        bound = epsilon_lower_bound(scores[name], member[asked], seed, dp["delta"], ALPHA / len(attacks))
        if bound > shown["lower_bound"]:
            shown = {"lower_bound": bound, "attack": row["name"], "threat_model": row["threat_model"]}
    warning = None
    if shown["lower_bound"] > dp["epsilon"]:
        warning = (
            f"the attack {shown['attack']} ({shown['threat_model']}) shows an epsilon of at least "
            f"{shown['lower_bound']:.3g} at 95% confidence, corrected for {len(attacks)} attacks, above the "
            f"{dp['epsilon']:.3g} that training claims to guarantee: do not rely "
            "on the guarantee; the weights, the manifest or the training are not those that it covers"
        )
    return {**dp, **shown, "warning": warning}
