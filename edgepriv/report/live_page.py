"""What makes a page come alive: data and scripts, all inside it, and which scripts a browser may run.

The chart is uPlot's (MIT, ``live/uPlot.LICENSE``): 50 kB, no dependency, maintained.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from edgepriv.audit.assess import RATES
from edgepriv.audit.knowledge import phrase_of
from edgepriv.report.formatting import attack_name
from edgepriv.report.groups import by_strength, counts

PRIORS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
DRAWN = 3
HIGHEST_FPR = 0.5
_SCRIPTS = ("uPlot.iife.min.js", "statistics.js", "page.js")


def scripts() -> dict[str, Markup | str]:
    """The scripts of every page.

    Returns:
        ``script``, its ``hash`` as a content security policy names it, and ``style`` of the chart.
    """
    folder = files("edgepriv.report").joinpath("live")
    licence = " ".join(folder.joinpath("uPlot.LICENSE").read_text().split())
    text = "\n".join(
        [f"/* uPlot: {licence} */", *(_without_address(folder.joinpath(name).read_text()) for name in _SCRIPTS)]
    )
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    style = folder.joinpath("uPlot.min.css").read_text()
    return {"script": Markup(text), "hash": f"sha256-{digest}", "style": Markup(style)}


def _without_address(script: str) -> str:
    """Without the comment that names a library's home: a page refers to no address, not even in passing."""
    return script.split("*/", 1)[1].lstrip() if script.startswith("/*!") else script


def attacks_data(audit: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """ROC curves as counts, and where the sliders stop.

    Args:
        audit: content of model.audit.json, or None.

    Returns:
        ``data`` for the script, as JSON that stands safely in a page, and ``persons``, whether records belong to these. None
        without attacks.
    """
    rows = [row for row in by_strength((audit or {}).get("attacks", [])) if row.get("roc")]
    if audit is None or not rows:
        return None
    utility = audit["utility"]
    prior = audit.get("prior")
    fprs = [fpr for fpr in RATES if 1 / utility["n_non_members"] <= fpr + 1e-12 and fpr <= HIGHEST_FPR]
    told = {
        "attacks": [_attack(row, *counts(row, utility)) for row in rows],
        "fprs": fprs or [HIGHEST_FPR],
        "priors": sorted({*PRIORS, *([] if prior is None else [prior])}),
        "prior": prior,
        "drawn": list(range(min(DRAWN, len(rows)))),
    }
    text = json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")
    return {"data": Markup(text), "persons": any("n_member_persons" in row for row in rows)}


def _attack(row: Mapping[str, Any], members: int, others: int) -> dict[str, Any]:
    false, true = (
        [round(rate * size) for rate in row["roc"][side]] for side, size in (("fpr", others), ("tpr", members))
    )
    false, true = _corners(false, true)
    return {
        "name": attack_name(row),
        "by": phrase_of(row),
        "auc": row["auc"],
        "ci": row["auc_ci"],
        "members": members,
        "others": others,
        "memberPersons": row.get("n_member_persons", members),
        "otherPersons": row.get("n_non_member_persons", others),
        "fp": _steps(false),
        "tp": _steps(true),
    }


def _corners(false: Sequence[int], true: Sequence[int]) -> tuple[list[int], list[int]]:
    """Without points between others of the same false-positive rate: of these the highest counts, and the curve is the same."""
    last = len(false) - 1
    kept = [place for place in range(last + 1) if place in (0, last) or false[place] != false[place + 1]]
    return [false[place] for place in kept], [true[place] for place in kept]


def _steps(counted: Sequence[int]) -> list[int]:
    """The first count, then what each adds to the one before: fewer characters."""
    return [now - before for before, now in zip([0, *counted], counted, strict=False)]
