"""What an audit asks before any attack: is this a model that works?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgepriv.accuracy import Answers, Asked, Standard, collapse, remarks
from edgepriv.artifact.accuracies import ONNXRUNTIME, row
from edgepriv.audit.run import Target, answers
from edgepriv.data import Dataset

MOST = 2_000
"""Members, and non-members, that are asked about."""
_WHAT_NOW = (
    "What such a model gives away is not worth an audit, or it is not fed as it was trained; --accept-accuracy-loss audits it "
    "all the same"
)


def asked_of(target: Target, dataset: Dataset, members: np.ndarray, non_members: np.ndarray, seed: int) -> Asked:
    """The labels that the deployed model gives to at most MOST of each, drawn with ``seed``."""
    drawn = np.random.default_rng([seed, 8])
    chosen = (np.sort(drawn.permutation(index)[:MOST]) for index in (members, non_members))
    return Asked(*(Answers(answers(target, dataset, index).argmax(1), dataset.y[index]) for index in chosen))


def accuracy_part(
    file: str, own: Asked, twin: tuple[str, Asked] | None, dataset: Dataset, *, at_export: Any = None, accept: bool
) -> dict[str, Any]:
    """``accuracy`` of the audit, in the form of an export's: a row for the file, then for its float twin (name, answers).

    ``at_export``: ``accuracy`` of the manifest, for the row of the float weights in torch. Raises UserError when the file
    has collapsed (see ``edgepriv.accuracy``), unless ``accept``: then it is a warning.
    """
    rows = [row(file, ONNXRUNTIME, own)]
    if twin is not None:
        rows.append(row(f"float twin {twin[0]}", ONNXRUNTIME, twin[1]))
    rows += _float_weights(at_export)
    fallen = collapse(own, dataset.class_names)
    warnings = Standard(accept=accept).judge([f"{file} {fallen}"] if fallen else [], _WHAT_NOW)
    if not fallen:
        warnings = [f"{file} {remark}" for remark in remarks(own)]
    return {"rows": rows, "costs": [], "warnings": warnings}


def _float_weights(at_export: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    known = (at_export or {}).get("rows", [])
    return [found | {"model": f"{found['model']} at export"} for found in known if found["runtime"] == "torch"]
