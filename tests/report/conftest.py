"""Made-up measurements in the form of model.audit.json and model.bench.json."""

import numpy as np
import pytest


def attack(name, threat_model, shift, n=1000, seed=0):
    """An attack whose scores are normal with unit variance, members ``shift`` higher."""
    generator = np.random.default_rng(seed)
    members, others = np.sort(generator.normal(shift, 1, n))[::-1], np.sort(generator.normal(0, 1, n))[::-1]
    auc = float((members[:, None] > others).mean())
    half = 1.96 * float(np.sqrt(auc * (1 - auc) / n))
    levels = np.sort(np.concatenate([members, others]))[::-1][:: max(1, n // 100)]
    tpr = float((members > others[n // 100]).mean())
    edges = np.linspace(-4, 6, 61)
    side = {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    return {
        "name": name,
        "title": f"the {name} attack",
        "paper": "Nobody et al. 2020",
        "threat_model": threat_model,
        "auc": auc,
        "auc_ci": [auc - half, auc + half],
        "balanced_accuracy": 0.5 + shift / 5,
        "threshold_source": "reference models",
        "tpr_at_fpr": {
            "0.01": {"value": tpr, "ci": [max(0, tpr - 0.01), tpr + 0.01]},
            "0.001": {"value": None, "ci": None, "note": "not resolvable with 900 non-members"},
        },
        "epsilon_lower_bound": shift,
        "member": side,
        "non_member": side,
        "confusion": {"tn": 500, "fp": 500, "fn": 500, "tp": 500},
        "roc": {
            "fpr": [0, *(float((others >= level).mean()) for level in levels), 1],
            "tpr": [0, *(float((members >= level).mean()) for level in levels), 1],
        },
        "histogram": {
            "edges": edges.tolist(),
            "members": np.histogram(members, edges)[0].tolist(),
            "non_members": np.histogram(others, edges)[0].tolist(),
        },
    }


def half(shift, robust):
    """What an audit says about one model."""
    names = [
        "confidence",
        "entropy",
        "lira-online",
        "lira-offline",
        "rmia",
        "shadow-mlp",
        "loss-classwise",
        "correctness",
    ]
    return {
        "utility": {
            "member_accuracy": 0.99,
            "member_accuracy_ci": [0.982, 0.995],
            "non_member_accuracy": 0.953,
            "non_member_accuracy_ci": [0.938, 0.964],
            "generalisation_gap": 0.037,
            "n_members": 1000,
            "n_non_members": 900,
        },
        "threat_model": "adaptive",
        "attacks": [
            attack(name, threat_model, shift * (1 + place / 10) * factor, seed=place)
            for threat_model, factor in (("adaptive", 1.0), ("oblivious", 0.6))
            for place, name in enumerate(names)
        ],
        "left_out": [{"name": "label-only", "reason": "needs 2,000 queries for each record"}],
        "robustness": {
            "level": "autoattack",
            "head": None,
            "square_asks": "the file",
            "fixed_features": 0,
            "norm": "linf",
            "eps": 0.1,
            "clean_accuracy": 0.95,
            "clean_ci": [0.935, 0.962],
            "attacks": [
                {
                    "name": name,
                    "robust_accuracy": robust + extra,
                    "ci": [robust + extra - 0.03, robust + extra + 0.03],
                    "n": 1000,
                }
                for name, extra in (("fgsm", 0.08), ("pgd", 0.02), ("pgd-margin", 0.01), ("square", 0.05))
            ],
            "worst_case_accuracy": robust,
            "ci": [robust - 0.03, robust + 0.03],
            "n": 1000,
            "curve": [
                {"eps": eps, "accuracy": 0.95 - (0.95 - robust) * eps / 0.1 * 0.95} for eps in (0.025, 0.05, 0.1)
            ],
            "warnings": [
                "softmax saturation: the largest probability is exactly 1 for 12% of the examples; trust pgd-margin"
            ],
        },
    }


@pytest.fixture
def audit():
    """A hardened model that leaks a little, beside an undefended float model that leaks much."""
    return half(0.3, 0.61) | {"float": half(0.9, 0.05), "seed": 7, "versions": {"torch": "2.13.0"}, "epsilons": [1, 2]}


@pytest.fixture
def tight_audit():
    """A hardened model that no attack tells from guessing."""
    whole = half(0.0, 0.61)
    for found in whole["attacks"]:
        found |= {"auc": 0.51, "auc_ci": [0.48, 0.54]}
        found["tpr_at_fpr"]["0.01"] = {"value": 0.012, "ci": [0.006, 0.021]}
    return whole


def variant(name, size, p50, threads=1, batch=1):
    return {
        "name": name,
        "size_bytes": size,
        "sha256": name[0] * 64,
        "threads": threads,
        "batch": batch,
        "load_ms": 3.2,
        "first_ms": 0.31,
        "latency_ms": {"p50": p50, "p90": 1.1 * p50, "p99": 1.5 * p50, "n": 1000},
        "latency_p50_rounds": [p50],
        "rss_mb": {"loaded": 2.04, "peak": 3.51, "baseline": 56.9},
        "ops": {"nchwc.Conv": 2, "FusedGemm": 3, "Softmax": 1},
    }


@pytest.fixture
def bench():
    """A small model as fast as float at batch 1 and slower at batch 32."""
    return {
        "variants": [
            variant(name, size, p50 * batch**0.5, batch=batch)
            for batch, slower in ((1, 1.02), (32, 1.3))
            for name, size, p50 in (("float", 246_000, 0.2), ("hardened", 34_500, 0.2 * slower))
        ],
        "reference": "float",
        "ratios": [
            {
                "name": "hardened",
                "against": "float",
                "threads": 1,
                "batch": batch,
                "size": 0.14,
                "latency_p50": slower,
                "latency_rounds": [slower - 0.05, slower, slower + 0.05],
                "load": 1.1,
                "first": 0.9,
                "rss_loaded": None,
                "rss_peak": 0.97,
            }
            for batch, slower in ((1, 1.02), (32, 1.3))
        ],
        "machine": {"cpu": "A CPU", "cores": 2, "onnxruntime": "1.32.0", "python": "3.11.7", "os": "Linux"},
        "method": {"runs": 200, "time": 30.0, "precision": 0.05, "warmup": 20, "memory": "VmRSS"},
    }


@pytest.fixture
def layers():
    """Three quantized layers and one that is not."""
    rows = [
        ("conv1", "Conv", 8, 150),
        ("conv2", "Conv", 4, 2400),
        ("fc1", "MatMulNBits", 4, 48_000),
        ("fc3", "Gemm", 32, 840),
    ]
    return [
        {
            "name": name,
            "op": op,
            "bits": bits,
            "parameters": count,
            "stored_bytes": count * bits // 8,
            "granularity": "channel",
        }
        for name, op, bits, count in rows
    ]
