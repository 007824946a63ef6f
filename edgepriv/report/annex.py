"""Which paragraph of which text each figure speaks to: as evidence that a reader may weigh, never as compliance."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgepriv.report.coverage import (
    ATTRIBUTE,
    EVASION,
    EXECUTED,
    EXTRACTION,
    INVERSION,
    MEMBERSHIP,
    PROPERTY,
    RECONSTRUCTION,
)

EDPB = "EDPB Opinion 28/2024 (17 December 2024)"
NIST = "NIST AI 100-2 E2025 (March 2025)"
HIPAA = "HIPAA, 45 CFR 164.514(b)(1)"
CONTEXT, EVERYTHING, SIZE = "release context", "everything", "size of the model"

LIMIT = (
    "This statement is evidence about the attacks that it lists as executed, on this file, at this date. It is no "
    "determination of anonymity, no certificate and no legal advice: whether a requirement is met is for the controller, the "
    'expert or the authority to decide. EDPB Opinion 28/2024, paragraph 55: "successful testing which covers widely known, '
    'state-of-the-art attacks can only be evidence for the resistance to those attacks".'
)

PARAGRAPHS: tuple[tuple[str, str, str, str], ...] = (
    (
        EDPB,
        "paragraph 46",
        CONTEXT,
        "how far testing has to go depends on where the model is released and who can reach it",
    ),
    (EDPB, "paragraph 55(i)", MEMBERSHIP, "tests against attribute and membership inference"),
    (EDPB, "paragraph 55(i)", ATTRIBUTE, "tests against attribute and membership inference"),
    (EDPB, "paragraph 55(iv)", INVERSION, "tests against model inversion"),
    (EDPB, "paragraph 55(v)", RECONSTRUCTION, "tests against reconstruction attacks"),
    (EDPB, "paragraph 58(c)", EVERYTHING, "the threat model and the risk assessments that measures rest on"),
    (EDPB, "paragraph 58(e)", SIZE, "among the documents: the ratio of training data to the number of parameters"),
    (NIST, "section 2.4, NISTAML.033", MEMBERSHIP, "membership inference"),
    (NIST, "section 2.4, NISTAML.032", ATTRIBUTE, "data reconstruction, to which attribute inference is related"),
    (NIST, "section 2.4, NISTAML.032", INVERSION, "data reconstruction, model inversion among it"),
    (NIST, "section 2.4, NISTAML.032", RECONSTRUCTION, "data reconstruction"),
    (NIST, "section 2.4, NISTAML.034", PROPERTY, "property inference"),
    (NIST, "section 2.4, NISTAML.031", EXTRACTION, "model extraction"),
    (NIST, "section 2.2, NISTAML.022", EVASION, "evasion"),
    (
        HIPAA,
        "164.514(b)(1)(i)",
        MEMBERSHIP,
        "the risk that an anticipated recipient identifies a person, which an expert has to find very small",
    ),
    (HIPAA, "164.514(b)(1)(i)", ATTRIBUTE, "the same: what a recipient may learn of a person"),
    (HIPAA, "164.514(b)(1)(ii)", EVERYTHING, "the documented methods and results that a determination rests on"),
)
"""Text, paragraph, what of this statement speaks to it, and what it is about."""


def annex_of(coverage: Sequence[Mapping[str, Any]], figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What this statement brings to each paragraph.

    Args:
        coverage: of the statement.
        figures: of the statement.

    Returns:
        Rows of ``text``, ``paragraph``, ``about`` (what it is about), ``evidence`` (in words: the figures that speak to it, or
        that there are none) and ``figures`` (their names).
    """
    rows = []
    for text, paragraph, topic, about in PARAGRAPHS:
        names = [row["figure"] for row in figures if row["about"] == topic and row["value"] is not None]
        evidence = _evidence(topic, names, coverage)
        rows.append({"text": text, "paragraph": paragraph, "about": about, "evidence": evidence, "figures": names})
    return rows


def _evidence(topic: str, names: Sequence[str], coverage: Sequence[Mapping[str, Any]]) -> str:
    if topic == CONTEXT:
        return "the release context as it was stated above; nothing about it is measured"
    if topic == EVERYTHING:
        return "this statement: attackers tested and not tested, methods, figures, seeds and hashes"
    if names:
        return "; ".join(names)
    statuses = {row["status"] for row in coverage if row["attack"] == topic}
    return (
        "no figure"
        if not statuses or statuses == {EXECUTED}
        else f"none: {' and '.join(sorted(statuses - {EXECUTED}))}"
    )
