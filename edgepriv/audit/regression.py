"""Two audits of two versions of a model: what became better or worse beyond noise, and what cannot be compared."""

from collections.abc import Iterator, Sequence
from typing import Any

from edgepriv.audit.change.accuracy import accuracy
from edgepriv.audit.change.leakage import STRONGEST, leakage
from edgepriv.audit.change.robustness import robustness
from edgepriv.audit.change.versions import (
    ACCURACY,
    BETTER,
    LEAKAGE,
    NOISE,
    ROBUSTNESS,
    UNKNOWN,
    WORSE,
    Row,
    Version,
    key_of,
    same_data,
    same_records,
)


def compared(before: Version, after: Version, seed: int = 0) -> dict[str, Any]:
    """What changed from one version to the next.

    Args:
        before: the older version.
        after: the newer one.
        seed: of the draws.

    Returns:
        ``against``: the older version. ``figures``: rows of ``topic``, ``figure``, ``before``, ``after``, ``difference`` with
        ``ci``, ``paired`` (whether record by record), ``unit`` ("area", "rate" or "percent"), ``by_before`` and ``by_after``
        (which attack), and ``verdict``. ``verdicts``: topic -> "better", "worse", "within noise" or "not compared".
        ``differs``: in what the two audits differ; ``not_compared``: what could not be compared, and why. As JSON.
    """
    same = same_records(before, after)
    differs = list(_differences(before, after, same))
    why_not: list[str] = []
    figures = [
        *leakage(before, after, same, seed, why_not),
        *accuracy(before, after, same, why_not),
        *robustness(before.audit, after.audit, same, why_not),
    ]
    return {
        "against": before.name,
        "figures": figures,
        "verdicts": {topic: _verdict(figures, topic, why_not) for topic in (LEAKAGE, ACCURACY, ROBUSTNESS)},
        "differs": differs,
        "not_compared": why_not,
    }


def _verdict(figures: Sequence[Row], topic: str, why_not: Sequence[str]) -> str:
    """The worst of a topic: what got worse is not made good by what got better, nor by attacks that are not the strongest."""
    verdicts = {row["verdict"] for row in figures if row["topic"] == topic}
    if topic == LEAKAGE and WORSE not in verdicts and any(line.startswith(STRONGEST) for line in why_not):
        return UNKNOWN
    return next((verdict for verdict in (WORSE, BETTER, NOISE) if verdict in verdicts), UNKNOWN)


def _differences(before: Version, after: Version, same: bool) -> Iterator[str]:
    old, new = before.audit, after.audit
    if not same_data(before, after):
        yield "the data sets differ: what differs may be the data, not the model"
    elif not same:
        yield "members or non-members differ: records are compared as two separate draws"
    names = [{key_of(row) for row in audit["attacks"]} for audit in (old, new)]
    for more, less, which, than in ((0, 1, before, after), (1, 0, after, before)):
        if names[more] - names[less]:
            listed = ", ".join(sorted(f"{name} ({model})" for name, model in names[more] - names[less])[:4])
            number = len(names[more] - names[less])
            some = f" and {number - 4} more" if number > 4 else ""
            yield f"{_attacks(number)} run on {which.name} alone, and not on {than.name}: {listed}{some}"
    for key, what in (("references", "reference models"), ("seed", "seed of the audit")):
        if old.get(key) != new.get(key):
            yield f"{what}: {old.get(key)} of {before.name}, {new.get(key)} of {after.name}"
    versions = [(audit.get("versions") or {}).get("edgepriv") for audit in (old, new)]
    if versions[0] != versions[1]:
        yield f"edgepriv {versions[0]} audited {before.name}, {versions[1]} {after.name}"
    if any((audit.get("shift") or {}).get("found") for audit in (old, new)):
        yield "members and non-members differ in themselves, which every figure of leakage contains"


def _attacks(number: int) -> str:
    return "1 attack was" if number == 1 else f"{number} attacks were"
