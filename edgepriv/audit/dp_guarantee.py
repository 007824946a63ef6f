"""What was proven of a model beside what its attackers showed: the epsilon of differentially private training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgepriv.audit.clustered import of_persons
from edgepriv.audit.epsilon import records_of
from edgepriv.audit.knowledge import phrase_of
from edgepriv.audit.one_run import one_run_part
from edgepriv.audit.statistics import ALPHA, epsilon_lower_bound
from edgepriv.data.groups import most_of_one
from edgepriv.training.dp_plan import of_a_person


def compare_with_guarantee(
    dp: Mapping[str, Any],
    attacks: Sequence[Mapping[str, Any]],
    scores: Mapping[str, np.ndarray],
    seed: int,
    *,
    drawn: bool = False,
) -> dict[str, Any]:
    """Compare what attacks show with what differential privacy proves.

    Each bound leaves out the ``delta`` that the proof leaves open and holds at a confidence of 1 - 0.05 / (number of attacks),
    so that the largest of them holds at 95%. It takes records for independent of each other, given the model. Where chance
    decided who was a member, the bound from one training (``one_run``), which does not, is beside it: then each of the two is
    at 97.5%, and the larger is what the attacks show.

    The guarantee is of one record. Where records belong to persons (``scores["group"]``), an attack shows what it can tell of
    persons, and a person with up to k records (``records_of_a_person``) is covered by k epsilon (``epsilon_of_a_person``) at
    delta (e^(k epsilon) - 1) / (e^epsilon - 1) (Vadhan 2017, lemma 2.2).

    Args:
        dp: facts of the training, with ``epsilon`` (None: nothing is proven) and ``delta``.
        attacks: rows of the audit.
        scores: of the audit, by "threat model/attack".
        seed: of the halves that a bound is computed on.
        drawn: whether chance decided, record by record, who was a member (``epsilon.why_not_drawn``).

    Returns:
        ``dp``, with the largest lower bound on epsilon that an attack shows, and which one's; and ``warning``: None, or the
        sentence that says that an attack has shown more than is proven possible.
    """
    member, groups = scores["member"], scores.get("group")
    epsilon, delta, of_persons_too = _of_a_person(dp, groups, member)
    alpha = ALPHA / 2 if drawn else ALPHA
    shown: dict[str, Any] = {"lower_bound": 0.0, "attack": None, "threat_model": None}
    for row in attacks:
        name = f"{row['threat_model']}/{row['name']}"
        asked = scores.get(f"{name}/index", np.arange(len(member)))
        judged = of_persons(scores[name], member[asked], None if groups is None else groups[asked])
        bound = epsilon_lower_bound(*judged, seed, delta, alpha / len(attacks))
        if bound > shown["lower_bound"]:
            shown = {"lower_bound": bound, "attack": row["name"], "threat_model": row["threat_model"]}
    if drawn:
        records = records_of(attacks, scores)
        own = one_run_part(records, member, alpha=alpha, delta=delta, seed=seed, curve=False)["one_run"]
        if own["lower_bound"] > shown["lower_bound"]:
            threat_model, name = own["attack"].split("/", 1)
            shown = {"lower_bound": own["lower_bound"], "attack": name, "threat_model": threat_model}
    warning = None
    if epsilon is not None and shown["lower_bound"] > epsilon:
        by = phrase_of({"name": shown["attack"], "threat_model": shown["threat_model"]})
        warning = (
            f"the attack {shown['attack']} ({by}) shows an epsilon of at least "
            f"{shown['lower_bound']:.3g} at 95% confidence, corrected for {len(attacks)} attacks, above the "
            f"{epsilon:.3g} that training claims to guarantee{' a person' if of_persons_too else ''}: do not rely "
            "on the guarantee; the weights, the manifest or the training are not those that it covers"
        )
    return {**dp, **of_persons_too, **shown, "warning": warning}


def _of_a_person(
    dp: Mapping[str, Any], groups: np.ndarray | None, member: np.ndarray
) -> tuple[float | None, float, dict[str, Any]]:
    """Epsilon and delta that cover a person with all records, and what the JSON says of it; of one record without groups."""
    delta = float(dp["delta"])
    if dp["epsilon"] is None:
        return None, delta, {}
    if groups is None:
        return float(dp["epsilon"]), delta, {}
    most = most_of_one(groups, member.nonzero()[0])
    known = of_a_person({"epsilon": float(dp["epsilon"]), "delta": delta}, most)
    own = {
        "records_of_a_person": most,
        "epsilon_of_a_person": known.get("epsilon_of_a_person", known["epsilon"]),
        "delta_of_a_person": known.get("delta_of_a_person", delta),
    }
    return own["epsilon_of_a_person"], own["delta_of_a_person"], own
