"""What an audit asks before any attack: is this a model that works?"""

from typing import Any

import numpy as np

from edgepriv.accuracy import Answers, Asked, Standard, collapse, remarks
from edgepriv.artifact.accuracies import ONNXRUNTIME, TORCH, Sample, in_session, row
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.manifest import Manifest
from edgepriv.audit.run import Target, answers
from edgepriv.data import Dataset

MOST = 2_000
"""Members, and non-members, that are asked about."""
_WHAT_NOW = (
    "An audit of such a model means nothing, or its inputs are not preprocessed as in training; "
    "--accept-accuracy-loss audits it anyway"
)


def up_front(
    model: DeployedModel,
    target: Target,
    dataset: Dataset,
    members: np.ndarray,
    non_members: np.ndarray,
    *,
    seed: int,
    accept: bool,
    float_twin: DeployedModel | None = None,
) -> dict[str, Any]:
    """``accuracy`` of the audit, in the form of an export's.

    There is a row for the file, those of its float twin if that is asked too, and of the float weights at export that its
    manifest tells of; ``costs`` are those of the export.

    Args:
        model: the file.
        target: the same, as attacks see it.
        dataset: the examples.
        members: int64 [m], their places; at most MOST are asked about.
        non_members: int64 [n], the same.
        seed: of the draw.
        accept: go on, with a warning, where the file has collapsed (see ``edgepriv.accuracy``).
        float_twin: is asked too; None without one.

    Returns:
        ``rows``, ``costs`` and ``warnings``.

    Raises:
        UserError: when the file has collapsed, unless ``accept``.
    """
    drawn = np.random.default_rng([seed, 8])
    chosen = Sample(dataset, *(np.sort(drawn.permutation(index)[:MOST]) for index in (members, non_members)))
    groups = dataset.groups
    own = Asked(
        *(
            Answers(
                answers(target, dataset, index).argmax(1),
                dataset.y[index],
                None if groups is None else groups[index],
            )
            for index in (chosen.members, chosen.held_out)
        )
    )
    rows = [row(model.name, ONNXRUNTIME, own)]
    if float_twin is not None:
        rows.append(row(f"float twin {float_twin.name}", ONNXRUNTIME, in_session(float_twin.session, chosen)))
    rows += _float_weights(model.manifest)
    fallen = collapse(own, dataset.class_names)
    warnings = Standard(accept=accept).judge([f"{model.name} {fallen}"] if fallen else [], _WHAT_NOW)
    if not fallen:
        warnings = [f"{model.name} {remark}" for remark in remarks(own)]
    known = model.manifest
    costs = (known.accuracy or {}).get("costs", []) if known is not None else []
    return {"rows": rows, "costs": costs, "warnings": warnings}


def _float_weights(known: Manifest | None) -> list[dict[str, Any]]:
    told = (known.accuracy or {}).get("rows", []) if known is not None else []
    return [row | {"model": f"{row['model']}, at export"} for row in told if row["runtime"] == TORCH]
