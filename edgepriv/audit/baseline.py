"""A gate over time: ``--baseline old.audit.json`` fails where a version is worse than an earlier one beyond noise.

A baseline of another data set, network or format is refused. What the two audits did not measure in the same way cannot be
judged: like a limit that was not measured, it is an error and never a pass.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.change.leakage import STRONGEST
from edgepriv.audit.change.versions import ACCURACY, BETTER, LEAKAGE, NOISE, ROBUSTNESS, UNKNOWN, WORSE, Version
from edgepriv.audit.described import FORMAT, network_of
from edgepriv.audit.recorded import RecordedAudit
from edgepriv.audit.regression import compared
from edgepriv.errors import UserError
from edgepriv.files import UNREADABLE, read_json
from edgepriv.records import checked

OPTION = "--baseline"


@dataclass(frozen=True)
class Baseline:
    """An audit to compare with."""

    path: Path
    version: Version

    @classmethod
    def read(cls, path: Path) -> "Baseline":
        """An audit from its file, with the scores beside it where they are there.

        Args:
            path: of the JSON.

        Returns:
            The baseline.

        Raises:
            UserError: for a file that is no audit, for one of another format, and for figures that cannot be.
        """
        content = read_json(path, "audit")
        if not isinstance(content, dict) or not {"attacks", "utility", "sha256"} <= set(content):
            raise UserError(f"{OPTION} {path}: this is no audit; pass the MODEL.audit.json that edgepriv audit wrote")
        if content.get("format") != FORMAT:
            told = "of an earlier version" if "format" not in content else f"of format {content['format']}"
            raise UserError(
                f"{OPTION} {path}: an audit {told}, and this edgepriv compares format {FORMAT}: audit the earlier model again"
            )
        checked(RecordedAudit, content, f"{OPTION} {path} is no audit as edgepriv writes it")
        return cls(path, Version(str(path), content, scores_beside(path)))

    def refuse_other_network(self, model: DeployedModel) -> None:
        """Refuse a baseline of another network.

        Args:
            model: the file that is audited.

        Raises:
            UserError: where both are known and differ.
        """
        own, other = network_of(model), self.version.audit.get("network")
        if own is not None and other is not None and own != other:
            raise UserError(
                f"{OPTION} {self.path}: an audit of another network ({other}, and this one is {own}); edgepriv compare shows "
                "two models side by side"
            )

    def refuse_other_data(self, sha256: str) -> None:
        """Refuse a baseline that was measured on another data set.

        Args:
            sha256: of the data of this audit.

        Raises:
            UserError: where they differ.
        """
        told = self.version.audit.get("data") or {}
        if told.get("sha256") != sha256:
            raise UserError(
                f"{OPTION} {self.path}: an audit on another data set ({told.get('name', 'not named')}): what differs would be "
                "the data, not the model"
            )


def scores_beside(path: Path) -> dict[str, np.ndarray] | None:
    """The scores that an audit wrote beside its JSON.

    Args:
        path: of the JSON.

    Returns:
        By name; None where there are none that can be read.
    """
    archive = path.with_suffix(".npz")
    try:
        with np.load(io.BytesIO(archive.read_bytes()), allow_pickle=False) as opened:
            return {name: opened[name] for name in opened.files}
    except UNREADABLE:
        return None


def judged_against(baseline: Baseline, content: dict[str, Any], scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """What changed since a baseline, and whether the gate fails by it.

    Args:
        baseline: the earlier audit.
        content: of this audit.
        scores: of this audit.

    Returns:
        ``change``: what ``regression.compared`` returns, with the ``sha256`` of the earlier file; and ``limit``: a row as those
        of ``gate.judged``.
    """
    change = compared(baseline.version, Version(content["model"], content, scores), content["seed"])
    outcome, sentence = _outcome(change)
    limit = {"limit": f"baseline {baseline.path}", "outcome": outcome, "sentence": sentence}
    return {"change": change | {"sha256": baseline.version.audit["sha256"]}, "limit": limit}


def _outcome(change: dict[str, Any]) -> tuple[str, str]:
    worse = [in_words(row) for row in change["figures"] if row["verdict"] == WORSE]
    against = change["against"]
    if worse:
        return "exceeded", f"worse than {against} beyond noise: {'; '.join(worse)}"
    unjudged = [
        line for line in change["not_compared"] if line.startswith((STRONGEST, ROBUSTNESS, ACCURACY, "canaries"))
    ]
    if change["verdicts"][LEAKAGE] == UNKNOWN:
        unjudged = change["not_compared"]
    if unjudged:
        return "not measured", f"no regression against {against} was seen, but not everything could be compared: " + (
            "; ".join(dict.fromkeys(unjudged))
        )
    judged = {topic: verdict for topic, verdict in change["verdicts"].items() if verdict in (BETTER, NOISE)}
    return "met", f"no worse than {against} beyond noise: " + ", ".join(
        f"{topic} {verdict}" for topic, verdict in judged.items()
    )


def in_words(row: dict[str, Any]) -> str:
    """A figure of a comparison in a sentence.

    Args:
        row: of ``figures``.

    Returns:
        Such as "AUC of the strongest attack 0.612 -> 0.655 (+0.043 [0.012, 0.074])".
    """
    low, high = row["ci"]
    scale, mark = (1, "") if row["unit"] == "area" else (100, "%")
    places = 3 if row["unit"] == "area" else 1
    before, after, gap, low, high = (
        scale * value for value in (row["before"], row["after"], row["difference"], low, high)
    )
    points = " points" if mark else ""
    return (
        f"{row['figure']} {before:.{places}f}{mark} -> {after:.{places}f}{mark} ({gap:+.{places}f} [{low:+.{places}f}, "
        f"{high:+.{places}f}]{points})"
    )
