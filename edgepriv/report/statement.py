"""The risk statement: what was tested and what was not, the figures, what they rest on, and who answers for them until when."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from edgepriv.report.annex import LIMIT, annex_of
from edgepriv.report.attackers import attacker_rows
from edgepriv.report.coverage import EXECUTED, coverage_of
from edgepriv.report.declared import NOT_STATED, Declared
from edgepriv.report.figures import figures_of
from edgepriv.report.formatting import and_, count

FORMAT = 1
WIDTH = 80
Audit = Mapping[str, Any]

NEW_AUDIT_WHEN = (
    "the file changes: new weights, another quantization, another output or head (its sha256 is no longer the one above)",
    "the training data change, or people ask for their records to be removed",
    "it is released in another context, or to other people, than the one stated",
    "another version of the same model is released beside it: two files can tell more than each (edgepriv audit --also)",
    "stronger attacks become known, or a newer edgepriv has attacks that this one does not list",
    "an assumption of this audit turns out to be wrong: who was a member, whose records are whose, what non-members are like",
)


# Each argument is a fact that the audit itself does not hold.
def statement_of(
    audit: Audit,
    declared: Declared,
    *,
    date: str,
    recipe_sha256: str | None,
    parameters: int | None,
) -> dict[str, Any]:
    """The risk statement of an audit.

    Args:
        audit: content of model.audit.json, without a statement.
        declared: what people say.
        date: the day on which the audit ended, ISO 8601, UTC.
        recipe_sha256: of the recipe that the model was trained by; None where it is not known.
        parameters: of the model; None where they are not known.

    Returns:
        ``format``, ``context``, ``coverage``, ``attackers``, ``figures``, ``basis`` (versions, seeds, hashes, date, who ran
        it), ``new_audit_when``, ``annex`` and ``limit``, all of it JSON. ``signed`` adds ``sign_off``.
    """
    data = audit.get("data") or {}
    figures = figures_of(audit, parameters)
    coverage = coverage_of(audit)
    return {
        "format": FORMAT,
        "context": declared.context or NOT_STATED,
        "coverage": coverage,
        "attackers": attacker_rows(audit["attacks"]),
        "figures": figures,
        "basis": {
            "date": date,
            "run_by": declared.run_by or NOT_STATED,
            "versions": dict(audit.get("versions") or {}),
            "seed": audit.get("seed"),
            "split_seed": (data.get("split") or {}).get("seed"),
            "reference_models": audit.get("references"),
            "file": audit.get("model"),
            "file_sha256": audit.get("sha256"),
            "data": data.get("name"),
            "data_sha256": data.get("sha256"),
            "recipe_sha256": recipe_sha256,
        },
        "new_audit_when": list(NEW_AUDIT_WHEN),
        "annex": annex_of(coverage, figures),
        "limit": LIMIT,
        "sign_off": None,
    }


def signed(audit: Audit, declared: Declared) -> dict[str, Any]:
    """An audit with its sign-off, over all else that it says.

    Args:
        audit: content of model.audit.json, with a statement.
        declared: what people say.

    Returns:
        The content; ``statement.sign_off`` has ``name``, ``role`` and ``sha256``, of everything in the JSON but itself. Without
        a signatory it is None.
    """
    signatory = declared.signatory
    unsigned = {**audit, "statement": {**audit["statement"], "sign_off": None}}
    if signatory is None:
        return unsigned
    sign_off = {**signatory, "date": audit["statement"]["basis"]["date"], "sha256": digest(unsigned)}
    return {**audit, "statement": {**audit["statement"], "sign_off": sign_off}}


def digest(audit: Audit) -> str:
    """Of everything that an audit says, but for its sign-off.

    Args:
        audit: content of model.audit.json, with a statement.

    Returns:
        Hex sha256 of the JSON with sorted keys and no spaces.
    """
    unsigned = {**audit, "statement": {**audit["statement"], "sign_off": None}}
    return hashlib.sha256(json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_altered(audit: Audit) -> bool:
    """Whether an audit says something else than what was signed.

    Args:
        audit: content of model.audit.json.

    Returns:
        False also for an audit that nobody signed.
    """
    sign_off = (audit.get("statement") or {}).get("sign_off")
    return sign_off is not None and sign_off.get("sha256") != digest(audit)


def statement_lines(audit: Audit) -> list[str]:
    """The statement in a few lines for a terminal of 80 columns; the whole is in the report.

    Args:
        audit: content of model.audit.json.

    Returns:
        Lines of text; none for an audit without a statement.
    """
    statement = audit.get("statement")
    if statement is None:
        return []
    lines = [
        f"risk statement: {outcome(statement['coverage'])}",
        f"release context: {statement['context']}; {who(statement)}",
    ]
    return [fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines]


def outcome(coverage: Sequence[Mapping[str, Any]]) -> str:
    """Which kinds of attack were executed and which were not.

    Args:
        coverage: of a statement.

    Returns:
        One sentence.
    """
    run = list(dict.fromkeys(row["attack"] for row in coverage if row["status"] == EXECUTED))
    rest = list(
        dict.fromkeys(row["attack"] for row in coverage if row["status"] != EXECUTED and row["attack"] not in run)
    )
    return f"executed: {and_(run) or 'nothing'}; not executed, which says nothing about them: {and_(rest) or 'nothing'}"


def who(statement: Mapping[str, Any]) -> str:
    """Who ran the audit and who answers for it.

    Args:
        statement: of an audit.

    Returns:
        Part of a sentence.
    """
    sign_off = statement["sign_off"]
    by = f"{sign_off['name']}, {sign_off['role']}" if sign_off else "nobody"
    return f"run by: {statement['basis']['run_by']}; signed by: {by}"


def hashes(statement: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the figures rest on, as rows of a table.

    Args:
        statement: of an audit.

    Returns:
        Names and values; "not known" where nothing was recorded.
    """
    basis = statement["basis"]
    versions = and_([f"{name} {version}" for name, version in basis["versions"].items()])
    rows = {
        "date": basis["date"],
        "run by": basis["run_by"],
        "versions": versions,
        "seed of the audit": basis["seed"],
        "seed of the split": basis["split_seed"],
        "reference models": None if basis["reference_models"] is None else count(basis["reference_models"], "model"),
        f"file {basis['file'] or ''}, sha256": basis["file_sha256"],
        f"data {basis['data'] or ''}, sha256": basis["data_sha256"],
        "recipe, sha256": basis["recipe_sha256"],
    }
    return [(name, "not known" if value in (None, "") else str(value)) for name, value in rows.items()]
