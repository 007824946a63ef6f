"""What an audit says around its figures: which file, which settings and versions, and what a reader must know to judge them."""

from typing import Any

import numpy as np
import onnx

from edgepriv.artifact import manifest
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.shift import warning_of
from edgepriv.recipe import Recipe

Audited = tuple[dict[str, Any], dict[str, np.ndarray]]
"""The content of ``model.audit.json``, and every attack's scores."""


FORMAT = 1
"""Version of what an audit's figures mean; raised where an older one can no longer be compared."""


def network_of(model: DeployedModel) -> str | None:
    """Which network a file holds.

    Args:
        model: the opened file.

    Returns:
        The name that its recipe has for it; None without a manifest.
    """
    known = model.verified_manifest()
    name = ((known.recipe if known else None) or {}).get("model", {}).get("name")
    return None if name is None else str(name)


def described(
    model: DeployedModel,
    asked: DeployedModel,
    recipe: Recipe,
    record: dict[str, Any] | None,
    content: dict[str, Any],
    references: int,
) -> dict[str, Any]:
    """The content of ``model.audit.json`` around what was measured.

    Args:
        model: the file.
        asked: the same, or what is left of it when its end is cut off.
        recipe: settings of the audit.
        record: of the data.
        content: what was measured.
        references: reference models of each attacker.

    Returns:
        The content.
    """
    cut = asked is not model
    headline = content["attacks"][0]["threat_model"] if content["attacks"] else "none"
    return {
        "format": FORMAT,
        "model": model.name,
        "network": network_of(model),
        "sha256": asked.sha256,
        "head": None if model.answers_through is None else {"kind": model.answers_through, "cut": cut},
        "warnings": _warnings(model, cut) + _read_as_logits(model) + warning_of(content["shift"]),
        "threat_model": headline,
        "references": references,
        "seed": recipe.seed,
        "settings": {
            "audit": recipe.audit.model_dump(mode="json"),
            "adversary": recipe.adversary.model_dump(mode="json", include={"eps", "norm"}),
        },
        "data": record,
        "versions": manifest.versions(),
        **content,
    }


def _read_as_logits(model: DeployedModel) -> list[str]:
    """A warning where outputs that each were a probability by themselves are taken for logits of one label. One number for
    each example is not: it is read as the probability of the second of two classes."""
    graph = model.graph.graph
    many = {value.name for value in graph.output if not _one_number(value)}
    if not any(node.op_type in ("Sigmoid", "HardSigmoid") and many & set(node.output) for node in graph.node):
        return []
    return [
        f"{model.name} ends with a sigmoid, a separate probability for each output; the audit assumes one label for each "
        "example, and compares them with each other"
    ]


def _one_number(value: onnx.ValueInfoProto) -> bool:
    """Whether an output is stated to be [N] or [N, 1]."""
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return len(sizes) == 1 or sizes[1:] == [1]


def _warnings(model: DeployedModel, cut: bool) -> list[str]:
    """What a reader must know to judge the figures."""
    kind, label = model.answers_through, model.chooses_label
    parts = ([f"its head ({kind})"] if kind else []) + (["the choice of the label"] if label else [])
    if not parts:
        return []
    if cut:
        return [
            f"{model.name} was audited with {' and '.join(parts)} cut off: these are the figures of an attacker who holds "
            "the file"
        ]
    if kind is None:
        return [
            f"{model.name} returns labels only, but anyone who holds the file can remove the operator that chooses them: "
            f"edgepriv audit {model.name} --cut-head shows what it leaks then"
        ]
    return [
        f"{model.name} answers through a head ({kind}), which anyone who holds the file can remove: edgepriv "
        f"audit {model.name} --cut-head shows what it leaks then, and these figures hold only while "
        "attackers cannot get the file"
    ]
