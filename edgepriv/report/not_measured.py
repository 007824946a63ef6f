"""What an audit did not measure beside the attacks that it left out, and why, in lines for a terminal of 80 columns."""

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from edgepriv.report.groups import reasons
from edgepriv.report.tables import AT_MOST

WIDTH = 80


def notes(audit: Mapping[str, Any]) -> list[str]:
    """What was not measured of the file itself, then of its float twin; warnings about robustness are among the lines.

    Args:
        audit: content of model.audit.json.

    Returns:
        One text for each, wrapped at 80 columns. Empty where nothing is missing.
    """
    return [fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in _lines(audit)]


def _lines(audit: Mapping[str, Any]) -> Iterator[str]:
    twin = audit.get("float") or {}
    yield from _robustness(audit.get("robustness") or {}, "")
    if audit.get("no_float_twin"):
        yield f"float twin not audited: {audit['no_float_twin']}"
    yield from _robustness(twin.get("robustness") or {}, "float twin: ")
    own = {row["reason"] for row in audit.get("left_out", ())}
    for names, reason in reasons(twin.get("left_out", ())):
        if reason not in own:
            yield f"float twin, left out: {names}: {reason}"


def _robustness(robustness: Mapping[str, Any], of: str) -> Iterator[str]:
    lacking = "worst_case_accuracy" in robustness and robustness["worst_case_accuracy"] is None
    for warning in robustness.get("warnings", ()):
        yield f"{of}{'robust accuracy not measured' if lacking else 'warning'}: {warning}"
    if lacking and robustness.get("at_most") is not None:
        yield f"{of}{AT_MOST}"
