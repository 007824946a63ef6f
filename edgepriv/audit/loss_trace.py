"""Which members a training's own losses say are exposed, without any reference model (LT-IQR, arXiv 2411.05743)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.audit.answers import Floats
from edgepriv.audit.statistics import cut_at_fpr
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.training.traces import LossTrace

FPR, SHARE = 0.001, 0.01
"""A member counts as exposed where the strongest attack finds it at this false-positive rate; and how many of those ranked
first are compared with these, of all members. Both as in the paper."""
SHOWN = 10
FEWEST_EPOCHS = 4


def lt_iqr(losses: Floats) -> Floats:
    """Interquartile range of each example's losses over the epochs (the authors' ``_reduction_iqr``).

    Args:
        losses: float [epochs, n].

    Returns:
        float64 [n]; larger for members that membership attacks find.
    """
    low, high = np.quantile(losses.astype(np.float64), [0.25, 0.75], axis=0)
    spread: Floats = high - low
    return spread


def refuse_other_training(trace: LossTrace, where: Path, dataset: Dataset, split: Split) -> None:
    """Refuse the trace of other data or other members.

    Args:
        trace: read from ``where``.
        where: its file.
        dataset: of the audit.
        split: of the target.

    Raises:
        UserError: where it is not of this training, and where it has too few epochs.
    """
    if trace.data != dataset.sha256 or not np.array_equal(np.sort(trace.members), np.sort(split.members)):
        raise UserError(
            f"{where} is the loss trace of a model with other members: name the one beside this model's checkpoint"
        )
    if len(trace.epochs) < FEWEST_EPOCHS:
        raise UserError(f"{where} has {len(trace.epochs)} epochs, too few for an interquartile range ({FEWEST_EPOCHS})")


def loss_trace_part(
    trace: LossTrace, rows: Sequence[Mapping[str, Any]], scores: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """``loss_trace`` of the audit: the members ranked by LT-IQR, and how many of the first the strongest attack finds too.

    Args:
        trace: of the target's training.
        rows: of the audit's ``attacks``.
        scores: of the audit.

    Returns:
        ``method``, ``epochs`` (first, last, how many), ``members`` (how many are ranked: canaries are not), ``most_exposed``
        (``index`` into the data set, ``lt_iqr``), and ``agreement``: with which ``attack``, ``ranked`` (how many),
        ``precision`` (share of those ranked first that it finds at 0.1% false alarms) and ``base_rate`` (share of all members
        that it finds); None where no attack was run on all candidates, or the false-positive rate cannot be resolved; and the
        ``sentence`` of every report. As JSON.
    """
    # Canaries learn as no ordinary member does: figures of the average record, of which this is one, leave them out.
    ordinary = np.isin(trace.members, scores["index"][scores["member"]])
    members, ranges = trace.members[ordinary], lt_iqr(np.stack(trace.losses).astype(np.float64)[:, ordinary])
    order = np.argsort(-ranges, kind="stable")
    part: dict[str, Any] = {
        "method": "LT-IQR",
        "epochs": {"first": trace.epochs[0], "last": trace.epochs[-1], "count": len(trace.epochs)},
        "members": len(ranges),
        "most_exposed": [{"index": int(members[place]), "lt_iqr": float(ranges[place])} for place in order[:SHOWN]],
        "agreement": _agreement(members[order], rows, scores),
    }
    return part | {"sentence": _in_words(part)}


def _in_words(part: Mapping[str, Any]) -> str:
    first = ", ".join(str(row["index"]) for row in part["most_exposed"][:5])
    epochs, agreed = part["epochs"], part["agreement"]
    ranked = (
        f"members that the losses of epochs {epochs['first']} to {epochs['last']} of training rank first (LT-IQR, known to "
        f"the owner alone): records {first}"
    )
    if agreed is None:
        return f"{ranked}; no attack on all candidates resolves {FPR:.1%} false alarms to compare with"
    return (
        f"{ranked}; {agreed['attack']} finds {agreed['precision']:.0%} of the first {agreed['ranked']} at {FPR:.1%} false "
        f"alarms, and {agreed['base_rate']:.0%} of all members"
    )


def _agreement(
    ranked: np.ndarray, rows: Sequence[Mapping[str, Any]], scores: Mapping[str, np.ndarray]
) -> dict[str, Any] | None:
    member, index = scores["member"], scores["index"]
    whole = [row for row in rows if len(scores[f"{row['threat_model']}/{row['name']}"]) == len(member)]
    if not whole:
        return None
    strongest = max(whole, key=lambda row: (row["tpr_at_fpr"][str(FPR)]["value"] or 0.0, row["auc"]))
    values = scores[f"{strongest['threat_model']}/{strongest['name']}"]
    cut = cut_at_fpr(values, member, FPR)
    if cut is None:
        return None
    exposed = set(index[member & (values > cut)].tolist())
    first = ranked[: max(1, round(SHARE * len(ranked)))].tolist()
    return {
        "attack": strongest["name"],
        "threat_model": strongest["threat_model"],
        "ranked": len(first),
        "precision": sum(place in exposed for place in first) / len(first),
        "base_rate": len(exposed) / len(ranked),
    }
