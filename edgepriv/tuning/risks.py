"""What a file leaks and how it breaks, on one half of the records: by attacks of the audit, few while the search goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data, pipeline, progress
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.references import train_fleet
from edgepriv.audit.statistics import tpr_at_fpr
from edgepriv.data import Split
from edgepriv.errors import UserError
from edgepriv.files import read_json
from edgepriv.models import checkpoint
from edgepriv.project import beside
from edgepriv.recipe import Recipe
from edgepriv.tuning.budgets import Budgets
from edgepriv.tuning.clock import now
from edgepriv.tuning.question import Question


@dataclass(frozen=True)
class Effort:
    """How much is spent on a measurement. ``references``: models; ``attacks``: names with commas; ``robust``: level;
    ``examples``: that are perturbed; ``full``: whether it is that of an audit."""

    references: int
    attacks: str
    robust: str
    examples: int
    full: bool


PROXY = Effort(4, ",".join(name for name, attack in ATTACKS.items() if attack.queries <= 1), "quick", 200, False)
"""While the search goes on: few reference models, and no attack that asks the file many times for each record."""


def full_effort(recipe: Recipe) -> Effort:
    """What an audit spends.

    Args:
        recipe: whose section ``audit`` says it.

    Returns:
        Of the finalists, and of the file that is written.
    """
    asked = recipe.audit
    return Effort(asked.references, asked.attacks, asked.robust, asked.robust_examples, True)


def risks(onnx: Path, question: Question, split: Split, effort: Effort) -> dict[str, Any]:
    """Leakage and robustness of a file, where there is a budget for them.

    Args:
        onnx: the file, with its manifest beside it. model.audit.json, .html and .npz are written beside it.
        question: the budgets and the data.
        split: of whose members and non-members the figures are.
        effort: what is spent.

    Returns:
        ``tpr``: ``value``, ``ci``, ``attack``, ``fpr``, ``references``; ``robust``: ``value``, ``ci``, ``n``, ``level``;
        both with ``seconds``.

    Raises:
        UserError: where one cannot be measured.
    """
    measured: dict[str, Any] = {}
    began = now()
    if question.budgets.leakage is not None:
        asked = {"references": effort.references, "attacks": effort.attacks, "robust": "none"}
        start = None if question.recipe is None else question.recipe.start.path
        pipeline.audit(
            onnx,
            {"audit": asked | {"threat_models": ("adaptive",)}} | ({"start": {"path": start}} if start else {}),
            data_dir=question.data_dir,
            float_twin=False,
            factory=question.factory,
            accept_accuracy_loss=True,
            force=True,
        )
        measured["tpr"] = leakage_of(onnx, question, split) | {"seconds": now() - began}
    if question.budgets.robust is not None:
        began = now()
        measured["robust"] = robust_of(onnx, question, split, effort) | {"seconds": now() - began}
    return measured


def leakage_of(onnx: Path, question: Question, split: Split, *, once: bool = False) -> dict[str, Any]:
    """What the strongest attack of an audit finds of a half.

    Args:
        onnx: the file that was audited, with the audit and its scores beside it.
        question: the budgets and the data.
        split: of whose members and non-members the figure is.
        once: by the attacks alone that ask once for each record, those of ``PROXY``, if it has any.

    Returns:
        As ``strongest``, with ``references``.

    Raises:
        UserError: where no attack resolves the rate.
    """
    assert question.budgets.leakage is not None
    audit = read_json(beside(onnx, "audit.json"), "audit")
    with np.load(beside(onnx, "audit.npz"), allow_pickle=False) as archive:
        scores = dict(archive)
    fpr = question.budgets.leakage.fpr
    quick = [row for row in audit["attacks"] if once and row["name"] in PROXY.attacks.split(",")]
    worst = strongest(quick or audit["attacks"], scores, split, fpr, question.given.dataset.groups)
    return worst | {"references": audit["references"]}


def train_references(onnx: Path, question: Question, references: int) -> bool:
    """Train the reference models up to where candidates begin to differ, once for all of them.

    Args:
        onnx: a candidate's file, whose checkpoint is beside it.
        question: the data.
        references: models.

    Returns:
        False where they have no stage in common.

    Raises:
        UserError: for a training that diverged.
    """
    made_by = checkpoint.load(beside(onnx, "pt"), question.network)
    start = made_by.recipe.as_run(made_by.stages).undefended_start()
    if start is None:
        return False  # they begin to differ in the stage `train`
    if start.start.active and question.recipe is not None:
        start = start.with_changes(start={"path": question.recipe.start.path})
    given, kept = question.given, data.default_data_dir() / "references"  # where an audit keeps its own
    with progress.told(False):
        train_fleet(start, given.dataset, given.split, count=references, cache_dir=kept, label="first stage")
    return True


def strongest(
    attacks: Sequence[Mapping[str, Any]],
    scores: Mapping[str, np.ndarray],
    split: Split,
    fpr: float,
    groups: np.ndarray | None = None,
) -> dict[str, Any]:
    """The attack that finds most members of a half at a false-positive rate.

    Args:
        attacks: of an audit.
        scores: of the same audit, see ``audit.run.membership_part``.
        split: whose members and non-members count.
        fpr: false-positive rate.
        groups: int64 [N], whose records they are; None where each is by itself.

    Returns:
        ``value``, ``ci`` (Clopper-Pearson; it lies high, as the attack is the strongest of many), ``attack``, ``fpr``, ``n``
        (members that the attack was asked about) and ``unresolved`` (attacks that were asked about too few for the rate).

    Raises:
        UserError: where no attack resolves the rate.
    """
    index, member = scores["index"], scores["member"]
    inside = np.isin(index, np.concatenate([split.members, split.non_members]))
    best: dict[str, Any] | None = None
    unresolved = []
    for row in attacks:
        name = f"{row['threat_model']}/{row['name']}"
        place = scores.get(f"{name}/index", np.arange(len(member)))
        kept = inside[place]
        truth = member[place][kept]
        if truth.all() or not truth.any():
            unresolved.append(row["name"])
            continue
        own = None if groups is None else groups[index[place][kept]]
        rate = tpr_at_fpr(scores[name][kept], truth, fpr, own)
        if rate["value"] is None:
            unresolved.append(row["name"])
            continue
        if best is None or rate["value"] > best["value"]:
            best = {
                "value": rate["value"],
                "ci": list(rate["ci"]),
                "attack": row["name"],
                "fpr": fpr,
                "n": int(truth.sum()),
            }
    if best is None:
        raise UserError(f"no attack of the audit resolves a false-positive rate of {fpr:g}")
    return best | {"unresolved": unresolved}


def robust_of(onnx: Path, question: Question, split: Split, effort: Effort) -> dict[str, Any]:
    """Accuracy under attack on the half's non-members.

    Args:
        onnx: the file, with its checkpoint beside it.
        question: the data.
        split: the half.
        effort: what is spent.

    Returns:
        ``value``, ``ci``, ``n`` and ``level``.

    Raises:
        UserError: where it cannot be measured.
    """
    made_by = checkpoint.load(beside(onnx, "pt"), question.network).recipe
    asked = made_by.with_changes(audit={"robust": effort.robust, "robust_examples": effort.examples})
    cache = question.data_dir or data.default_data_dir()
    report = pipeline.robustness_of(onnx, replace(question.given, split=split), asked, cache)
    if report is None or report.get("worst_case_accuracy") is None:
        why = "" if report is None else "; ".join(report["warnings"])
        raise UserError(f"the accuracy under attack could not be measured{': ' if why else ''}{why}")
    n = min(effort.examples, len(split.non_members))
    return {"value": report["worst_case_accuracy"], "ci": list(report["ci"]), "n": n, "level": effort.robust}


def missing(figures: Mapping[str, Any], budgets: Budgets) -> list[str]:
    """Figures that have a budget and were not measured.

    Args:
        figures: of a candidate.
        budgets: that were asked for.

    Returns:
        Of "tpr" and "robust".
    """
    wanted = [("tpr", budgets.leakage), ("robust", budgets.robust)]
    return [name for name, budget in wanted if budget is not None and name not in figures]


def complete(figures: Mapping[str, Any], budgets: Budgets) -> bool:
    """Whether every figure that has a budget was measured.

    Args:
        figures: of a candidate.
        budgets: that were asked for.

    Returns:
        False for a candidate of a low rung where leakage or robustness has a budget.
    """
    return not missing(figures, budgets)
