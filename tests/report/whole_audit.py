"""An audit with every part that a page can show, measured by the real code on simulated evidence."""

import sys
from functools import cache
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "audit"))

from simulated import simulate

from edgepriv.audit import gate
from edgepriv.audit.assess import assess, corrected, select, utility
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.exposure import exposure

QUICK = ("confidence", "entropy", "loss")
# Enough of each kind to fill a page, and quick.
NAMES = (
    *QUICK,
    *("correctness", "modified-entropy", "confidence-classwise", "entropy-classwise", "modified-entropy-classwise"),
    *(
        "loss-classwise",
        "shadow-mlp",
        "difficulty-calibration",
        "lira-offline",
        "lira-online",
        "rmia-offline",
        "rmia-online",
    ),
)


@cache
def _assessed(effect: float, threat_model: str, n: int, names: tuple[str, ...] = NAMES, seed: int = 0):
    evidence, membership = simulate(effect, n=n, references=16, seed=seed)
    part = assess(evidence, membership, attacks=names, threat_model=threat_model, seed=seed)
    corrected([part])
    return evidence, membership, part


def whole_audit(robustness):
    """A hardened model that leaks a little, beside a float twin that leaks more: both attackers, queries of three kinds."""
    evidence, membership, adaptive = _assessed(0.6, "adaptive", 2000)
    _, _, oblivious = _assessed(0.3, "oblivious", 2000, seed=1)
    _, _, perturbed = _assessed(1.0, "adaptive", 600, (*QUICK, "lira-online", "rmia-online"), seed=2)
    _, _, labels = _assessed(0.9, "adaptive", 400, ("correctness",), seed=3)
    twin_evidence, twin_membership, twin = _assessed(1.6, "adaptive", 2000, (*QUICK, "lira-online"), seed=4)
    foreign, member = simulate(0.5, n=200, references=2, seed=5)
    left_out = assess(Evidence(foreign.target), member, attacks=select("all"), threat_model="adaptive").left_out
    part = {"n_members": 300, "n_non_members": 300, "queries": "adversarial"}
    found = {
        "model": "model.onnx",
        "sha256": "0" * 64,
        "references": 16,
        "seed": 0,
        "threat_model": "adaptive",
        "data": {"name": "simulated", "sha256": "1" * 64, "split": {"seed": 0, "sizes": {"members": 1000}}},
        "versions": {"edgepriv": "0.1.0", "onnxruntime": "1.32.0"},
        "utility": utility(evidence.target, membership),
        "attacks": [
            *adaptive.attacks,
            *(row for row in oblivious.attacks if ATTACKS[row["name"]].needs - {"labels"}),
            *({**row, "name": f"adversarial/{row['name']}", **part} for row in perturbed.attacks),
            {
                **labels.attacks[0],
                "name": "label-only-simulated",
                "queries": "label-only",
                "n_members": 200,
                "n_non_members": 200,
            },
        ],
        "left_out": [row | {"threat_model": model} for row in left_out for model in ("adaptive", "oblivious")],
        "robustness": robustness,
        "float": {"utility": utility(twin_evidence.target, twin_membership), "attacks": twin.attacks, "left_out": []},
    }
    found |= exposure(
        adaptive.attacks,
        {f"adaptive/{name}": scores for name, scores in adaptive.scores.items()},
        membership,
        labels=evidence.target.labels,
        index=np.arange(len(membership)),
        class_names=[f"class {label}" for label in range(10)],
        threat_model="adaptive",
    )
    found["limits"] = gate.judged([gate.parse_limit("auc>0.9"), gate.parse_limit("tpr@0.001>0.5")], found)
    return found
