"""How much of what an attack says of each record hangs on which reference models were trained: the attack with half of them.

The spread of a figure over random halves of n models is about what it would be over n other models (the delete-half jackknife;
Shao & Wu 1989), and needs none to be trained. Models 2p and 2p + 1 hold complementary halves of the candidates where the target
has half of them, so pairs are drawn: each candidate keeps as many IN as OUT models.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgepriv.audit.attacks import ATTACKS, Unavailable
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.most_exposed import Again
from edgepriv.audit.significance import REVERSED
from edgepriv.audit.ties import settled

DRAWS = 10


def with_half_of_the_models(row: Mapping[str, Any], evidence: Evidence, seed: int) -> Again:
    """The scores of an attack with half of its reference models, drawn again and again.

    Args:
        row: of the audit's ``attacks``, whose parameters and direction are kept.
        evidence: that it was run on.
        seed: of the draws.

    Returns:
        Its scores; none of an attack without reference models, and where half of them are too few for it.
    """
    attack, references = ATTACKS[row["name"]], evidence.references
    if "references" not in attack.needs or references is None:
        return Again(None, why_not="the attack asks no reference models")
    count = len(references.member)
    pairs = [np.arange(first, min(first + 2, count)) for first in range(0, count, 2)]
    if len(pairs) < 2:
        return Again(None, why_not=f"{count} reference models have no half that could be asked alone")
    generator, half = np.random.default_rng([seed, 33]), (len(pairs) + 1) // 2
    parameters = {name: value for name, value in (row.get("chosen") or {}).items() if name != "by"}
    sign, scores, models = (-1.0 if row["direction"] == REVERSED else 1.0), [], np.empty(0, np.int64)
    try:
        for _ in range(DRAWS):
            models = np.sort(np.concatenate([pairs[p] for p in generator.permutation(len(pairs))[:half]]))
            scores.append(sign * settled(attack.run(evidence.with_models(models), **parameters)))
    except Unavailable as reason:
        return Again(None, why_not=f"half of {count} reference models are too few for it: {reason}")
    return Again(np.stack(scores), len(models), count)
