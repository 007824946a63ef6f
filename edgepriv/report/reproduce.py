"""What a reader needs to run an audit again."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from edgepriv.recipe import Recipe, differences
from edgepriv.report.tables import flat

_OPTIONS = {
    "attacks": "--attacks",
    "references": "--references",
    "robust_examples": "--robust-examples",
    "pgd_steps": "--steps",
    "queried_examples": "--queried-examples",
    "output_name": "--output-name",
}
_SHOWN_ELSEWHERE = {
    "utility",
    "accuracy",
    "attacks",
    "left_out",
    "robustness",
    "float",
    "per_class",
    "most_exposed",
    "limits",
    "settings",
    "model",
    "sha256",
    "seed",
    "references",
    "data",
    "versions",
    "threat_model",
    "head",
    "warnings",
    "said",
    "reading",
}

Fact = tuple[str, str]


def audit_command(model: str, audit: Mapping[str, Any] | None) -> str:
    """The command line that gives ``audit`` again: the options that are not at their default, and the perturbations."""
    words = ["edgepriv", "audit", model]
    settings = (audit or {}).get("settings")
    if audit is None or settings is None:
        return shlex.join(words)
    if not (audit.get("data") or {}).get("split"):
        words += ["--members", "MEMBERS.npz", "--non-members", "NON_MEMBERS.npz"]
    if settings.get("factory"):
        words += ["--model", settings["factory"]]
    asked, default = settings["audit"], Recipe().audit.model_dump(mode="json")
    for key, option in _OPTIONS.items():
        if asked.get(key, default[key]) != default[key]:
            words += [option, str(asked[key])]
    if len(asked["threat_models"]) == 1:
        words += ["--threat-model", asked["threat_models"][0]]
    if asked.get("input_range"):
        words.append("--input-range={:g}:{:g}".format(*asked["input_range"]))
    for name in ("mean", "std"):
        words += [f"--{name}=" + ",".join(f"{value:g}" for value in asked[name])] if asked.get(name) else []
    words += ["--batch-dependent"] if asked.get("batch_dependent") else []
    robustness = audit.get("robustness")
    if robustness:
        words += ["--eps", str(robustness["eps"]), "--norm", robustness["norm"]]
    if (audit.get("head") or {}).get("cut"):
        words += ["--cut-head"]
    for limit in audit.get("limits", []):
        words += ["--fail-if", limit["limit"]]
    return shlex.join(words)


def essentials(audit: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None) -> Iterator[Fact]:
    """(name, value) of what an audit depends on: file, data, seed, versions, and the recipe's fields off their default."""
    if audit:
        data = audit.get("data") or {}
        split = data.get("split") or {}
        known = {
            "file audited, sha256": audit.get("sha256"),
            "data": data.get("name"),
            "data, sha256": data.get("sha256"),
            "split, seed": split.get("seed"),
            "seed": audit.get("seed"),
            "reference models": audit.get("references"),
            **{f"split, {side}": f"{size:,}" for side, size in (split.get("sizes") or {}).items()},
        }
        yield from ((name, str(value)) for name, value in known.items() if value is not None)
        yield from flat(audit.get("versions") or {}, "version")
    if manifest and manifest.get("recipe"):
        yield from flat(differences(dict(manifest["recipe"])), "recipe")


def facts(
    audit: Mapping[str, Any] | None, bench: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None
) -> Iterator[Fact]:
    """(name, value) of everything recorded that the page shows nowhere else, nested names joined by dots."""
    if audit:
        yield from flat({key: value for key, value in audit.items() if key not in _SHOWN_ELSEWHERE}, "audit")
        for key in ("data", "settings"):
            yield from flat(audit.get(key), f"audit.{key}")
    if bench:
        yield from flat({key: bench[key] for key in ("machine", "method", "reference")}, "bench")
        hashes = {row["name"]: row["sha256"] for row in bench["variants"]}
        yield from flat(hashes, "bench.sha256")
    if manifest:
        yield from flat({key: value for key, value in manifest.items() if key != "layers"}, "manifest")
