"""What a reader needs to run an audit again."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from edgepriv.recipe import Recipe, differences, options_of
from edgepriv.report.declared import NOT_STATED
from edgepriv.report.tables import flat

_SHOWN_ELSEWHERE = {
    "utility",
    "accuracy",
    "attacks",
    "left_out",
    "robustness",
    "float",
    "per_class",
    "most_exposed",
    "shown_records",
    "releases",
    "baseline",
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
    "statement",
}

Fact = tuple[str, str]


def audit_command(model: str, audit: Mapping[str, Any] | None) -> str:
    """The command line that gives an audit again: the options that are not at their default, the perturbations and the limits.

    Args:
        model: file name of the model.
        audit: content of model.audit.json; None, or one without ``settings``, gives the command without options.

    Returns:
        One line, quoted for a POSIX shell. MEMBERS.npz and NON_MEMBERS.npz stand for files of the user's.
    """
    arguments = ["edgepriv", "audit", model]
    settings = (audit or {}).get("settings")
    if audit is None or settings is None:
        return shlex.join(arguments)
    if not (audit.get("data") or {}).get("split"):
        arguments += ["--members", "MEMBERS.npz", "--non-members", "NON_MEMBERS.npz"]
    if settings.get("factory"):
        arguments += ["--model", settings["factory"]]
    if settings.get("start_weights"):
        arguments += ["--start-weights", settings["start_weights"]]
    for option, value in (settings.get("brought") or {}).items():
        arguments += [f"--{option}", value]
    for release in (audit.get("releases") or {}).get("files", []):
        arguments += ["--also", release["file"]]
    arguments += _asked(settings["audit"])
    robustness = audit.get("robustness")
    if robustness:
        arguments += ["--eps", str(robustness["eps"]), "--norm", robustness["norm"]]
    if (audit.get("head") or {}).get("cut"):
        arguments += ["--cut-head"]
    if "shown_records" in audit:
        arguments += ["--show-records"]
    context = (audit.get("statement") or {}).get("context", NOT_STATED)
    if context != NOT_STATED:
        arguments += ["--context", context]
    for limit in audit.get("limits", []):
        option, _, value = limit["limit"].rpartition("baseline ")
        arguments += ["--baseline", value] if not option and value != limit["limit"] else ["--fail-if", limit["limit"]]
    return shlex.join(arguments)


def _asked(settings: Mapping[str, Any]) -> Iterator[str]:
    """The options whose fields are not at their default, but for where the reference models were trained."""
    default = Recipe().audit.model_dump(mode="json")
    for name, declared in options_of("audit").items():
        for field in (target.field for target in declared.targets if target.section == "audit"):
            value = settings.get(field, default[field])
            if value == default[field] or field == "engine":
                continue
            flag = f"--{name.replace('_', '-')}"
            if isinstance(value, list) and not isinstance(value[0], str):
                between = ":" if field == "input_range" else ","
                yield f"{flag}={between.join(f'{number:g}' for number in value)}"
            else:
                yield flag
                yield from () if value is True else [value[0] if isinstance(value, list) else str(value)]


def essentials(audit: Mapping[str, Any] | None, manifest: Mapping[str, Any] | None) -> Iterator[Fact]:
    """What an audit depends on: file, data, seed, versions, and the recipe's fields off their default.

    Args:
        audit: content of model.audit.json, or None.
        manifest: of the model, as a plain dictionary, or None.

    Yields:
        Name and value; what was not recorded is left out.
    """
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
    """Everything recorded that the page shows nowhere else.

    Args:
        audit: content of model.audit.json, or None.
        bench: content of model.bench.json, or None.
        manifest: of the model, as a plain dictionary, or None; its layers are left out.

    Yields:
        Name and value; nested names are joined by dots.
    """
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
