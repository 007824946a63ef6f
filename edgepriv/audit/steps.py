"""The steps that every audit takes, whoever says who was a member."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.alike import likeness, warnings_of
from edgepriv.audit.answers import Bools
from edgepriv.audit.attackers import Attackers
from edgepriv.audit.attribute import attribute_part, inputs_of_column
from edgepriv.audit.beyond_shift import add_beyond_shift
from edgepriv.audit.brought import Brought, of_another_size
from edgepriv.audit.canaries import POOLED, Records, canaries_part
from edgepriv.audit.classifier import classifier_part
from edgepriv.audit.combined import combined_part
from edgepriv.audit.described import described
from edgepriv.audit.dp_guarantee import compare_with_guarantee
from edgepriv.audit.epsilon import epsilon_part, why_not_drawn
from edgepriv.audit.inversion import inversion_part
from edgepriv.audit.knowledge import attacker_in, attacker_of, with_attackers
from edgepriv.audit.query_evidence import balanced
from edgepriv.audit.references import candidates_of
from edgepriv.audit.robust import robustness_part
from edgepriv.audit.run import membership_part, observed
from edgepriv.audit.shift import shift_part
from edgepriv.audit.subgroups import changes_of, compare
from edgepriv.audit.subject import Subject
from edgepriv.audit.upfront import up_front
from edgepriv.data import canaries_in
from edgepriv.recipe import Recipe


def accuracy_of(subject: Subject, *, accept: bool, float_twin: DeployedModel | None = None) -> dict[str, Any]:
    """``accuracy`` of the audit (see ``up_front``).

    Args:
        subject: what is examined.
        accept: go on, with a warning, where the model has collapsed.
        float_twin: is asked too; None without one.

    Returns:
        ``rows``, ``costs`` and ``warnings``.

    Raises:
        UserError: where the model has collapsed, unless ``accept``.
    """
    return up_front(
        subject.model,
        subject.target,
        subject.dataset,
        subject.split.members,
        subject.split.non_members,
        seed=subject.split.seed,
        accept=accept,
        float_twin=float_twin,
    )


def likeness_of(subject: Subject, attackers: Attackers) -> dict[str, dict[str, Any] | None]:
    """``likeness`` of the audit.

    Args:
        subject: what is examined.
        attackers: with their models.

    Returns:
        Threat model -> how these models compare with the target; None where that cannot be said.
    """
    return {
        name: likeness(subject.target, subject.dataset, subject.split, fleet)
        for name, fleet in attackers.fleets.items()
    }


def membership_of(subject: Subject, attackers: Attackers) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What membership attacks find (see ``membership_part``).

    Args:
        subject: what is examined.
        attackers: with their models.

    Returns:
        Parts of the audit's JSON, and every attack's scores.
    """
    content, scores = membership_part(
        subject.target,
        subject.dataset,
        subject.split.members,
        subject.split.non_members,
        attackers.fleets,
        attacks=subject.attacks,
        recipe=subject.recipe,
        pool=subject.split.reference,
        releases=attackers.releases,
    )
    cut = subject.asked is not subject.model
    chosen = {key: content[key] for key in ("per_class", "most_exposed") if (content.get(key) or {}).get("attack")}
    named = {
        key: part | {"attacker": attacker_of(part["attack"], part["threat_model"], cut=cut)}
        for key, part in chosen.items()
    }
    return content | named | {key: with_attackers(content[key], cut=cut) for key in ("attacks", "left_out")}, scores


def combined_of(
    subject: Subject, attackers: Attackers, content: Mapping[str, Any], scores: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """``releases`` of the audit: what the combination with other releases of the model adds.

    Args:
        subject: what is examined.
        attackers: with their models, and what they know of other releases.
        content: of ``membership_of``.
        scores: of it.

    Returns:
        ``combined_part`` under ``releases``; empty without other releases.
    """
    for name, known in attackers.releases.items():
        references = attackers.fleets[name].references
        if references is not None:
            part = combined_part(
                content["attacks"],
                scores,
                subject.releases,
                known,
                references,
                file=subject.model.name,
                threat_model=name,
                seed=subject.recipe.seed,
            )
            return {"releases": part}
    return {}


def canaries_of(subject: Subject, attackers: Attackers) -> dict[str, Any]:
    """``canaries`` of the audit: what attacks find of the canaries alone, beside the average record.

    Args:
        subject: what is examined.
        attackers: with their models.

    Returns:
        Under ``canaries``: how many of which kind there are, then ``canaries_part``, or ``not_run``, the reason why there are
        no figures. Empty for data without canaries.
    """
    known = subject.dataset.canaries
    if known is None:
        return {}
    about = {name: value for name, value in known.record.items() if name != "sha256"}
    usable = {name: fleet for name, fleet in attackers.on_canaries.items() if fleet.references is not None}
    if not usable:
        return {"canaries": about | {"not_run": _why_no_figures(attackers), "attacks": [], "strongest": None}}
    name = POOLED if POOLED in usable else next(iter(usable))
    candidates = candidates_of(subject.whole)
    member = np.arange(len(candidates)) < len(subject.whole.members)
    planted = canaries_in(subject.whole, subject.dataset)
    sides = ((planted, usable[name]), (~planted, attackers.fleets[name]))
    canaries, average = (Records(candidates[side], member[side], fleet) for side, fleet in sides)
    target, seed = subject.target, subject.recipe.seed
    part = canaries_part(target, subject.dataset, canaries, average, threat_model=name, seed=seed)
    return {"canaries": about | part}


def _why_no_figures(attackers: Attackers) -> str:
    if attackers.fleets:
        return (
            "canaries are found by comparing with reference models that were trained on half of them, and nobody says that of "
            "these; an audit without --reference-models and --reference-scores trains such models"
        )
    return "canaries are found by comparing with reference models, and this audit has none (--attacks, --references)"


def classifier_of(subject: Subject) -> tuple[dict[str, Any], Bools]:
    """``classifier`` of the audit: how well the file does on non-members, whom nothing of its training has seen.

    Args:
        subject: what is examined.

    Returns:
        See ``classifier_part``; and bool [n], which of the non-members it has right.
    """
    dataset, split = subject.dataset, subject.split
    subgroups = None if dataset.subgroups is None else dataset.subgroups.take(split.non_members)
    validation = observed(subject.target, dataset, split.validation) if len(split.validation) else None
    groups = None if dataset.groups is None else dataset.groups[split.non_members]
    seen = observed(subject.target, dataset, split.non_members)
    if subject.target.labels_only:  # its probabilities stand for labels
        validation = None
    figures = classifier_part(seen, validation, groups, dataset.class_names, subgroups)
    if subject.target.labels_only:
        figures |= {"auc": {"value": None, "ci": None}, "calibration_error": None, "calibration_error_ci": None}
    return figures, seen.predicted == seen.labels


def fallen_subgroups(subject: Subject, figures: dict[str, Any], before: Bools, after: Bools) -> list[str]:
    """How accuracy changed by subgroup against the float twin, put into ``figures``, and a warning for each that falls.

    Args:
        subject: what is examined.
        figures: of ``classifier_of`` for the shipped file.
        before: bool [n], which non-members the float twin has right.
        after: the same of the shipped file.

    Returns:
        The warnings; none without subgroups.
    """
    if subject.dataset.subgroups is None:
        return []
    asked = subject.split.non_members
    groups = None if subject.dataset.groups is None else subject.dataset.groups[asked]
    return compare(figures, changes_of(before, after, groups, subject.dataset.subgroups.take(asked)))


def shift_of(subject: Subject, content: Mapping[str, Any], scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """``shift`` of the audit: whether members and non-members differ before any model has seen them.

    Args:
        subject: what is examined.
        content: of ``membership_of``; where they differ, its attacks get their ``beyond_shift``.
        scores: of it.

    Returns:
        See ``shift_part``; with ``overlap`` and ``strata`` where they differ.
    """
    split = subject.split
    part, propensity = shift_part(subject.dataset, split.members, split.non_members, subject.recipe.seed)
    return part if propensity is None else part | add_beyond_shift(content["attacks"], scores, propensity)


def epsilon_of(
    subject: Subject, content: Mapping[str, Any], scores: Mapping[str, np.ndarray], dp: Mapping[str, Any] | None
) -> dict[str, Any]:
    """``epsilon`` of the audit, and ``dp`` where the training claims a guarantee.

    Args:
        subject: what is examined.
        content: of ``membership_of``.
        scores: of it.
        dp: facts of a differentially private training; None for another.

    Returns:
        What the attacks show of epsilon (``epsilon_part``), and what was proven beside it (``compare_with_guarantee``).
    """
    why_not, seed = why_not_drawn(subject.dataset), subject.recipe.seed
    delta = None if dp is None else float(dp["delta"])
    # What several releases tell together is more than this file's training has to answer for.
    own = [row for row in content["attacks"] if attacker_in(row) != "releases"]
    parts: dict[str, Any] = {"epsilon": epsilon_part(own, scores, why_not, delta=delta, seed=seed)}
    if dp is not None:
        parts["dp"] = compare_with_guarantee(dp, own, scores, seed, drawn=why_not is None)
    return parts


def robustness_of(subject: Subject, cache_dir: Path, label: str = "robustness") -> dict[str, Any] | None:
    """``robustness`` of the audit, on non-members (see ``robustness_part``).

    Args:
        subject: what is examined.
        cache_dir: folder in which outcomes of attacks are kept.
        label: of the bar.

    Returns:
        Part of the audit's JSON; None where no attack was asked for.
    """
    return robustness_part(
        subject.target,
        subject.dataset,
        subject.split.non_members,
        subject.recipe,
        label,
        free=subject.free,
        cache_dir=cache_dir / "robustness",
    )


def screens_of(subject: Subject) -> dict[str, Any]:
    """``attribute_inference`` and ``class_inversion`` of the audit: two screens, or the reasons why they were not run.

    Args:
        subject: what is examined.

    Returns:
        See ``attribute_part`` and ``inversion_part``.
    """
    dataset, split, settings = subject.dataset, subject.split, subject.recipe.audit
    candidates = np.concatenate([split.members, split.non_members])
    member = np.arange(len(candidates)) < len(split.members)
    chosen = balanced(member, settings.queried_examples, subject.recipe.seed)
    predict = subject.target.predict
    attribute = attribute_part(predict, dataset, split, candidates[chosen], member[chosen], settings.sensitive)
    if subject.asked is not subject.model and attribute["status"] == "executed":
        attribute["attacker"] = "file"  # who asks the file without its head
    if settings.robust == "none":
        inversion = {"status": "not run", "reason": "nothing that needs gradients was asked for (--robust none)"}
    else:
        target = subject.target
        inversion = inversion_part(
            target.twin, target.no_twin, dataset, split.members, split.non_members, subject.recipe.seed
        )
    return {"attribute_inference": attribute, "class_inversion": inversion}


def refuse_unknown_column(subject: Subject) -> None:
    """Refuse a sensitive column that there is not, before anything is computed.

    Args:
        subject: what is examined.

    Raises:
        UserError: see ``inputs_of_column``.
    """
    if subject.recipe.audit.sensitive is not None:
        inputs_of_column(subject.dataset, subject.recipe.audit.sensitive)


def report_of(
    subject: Subject,
    attackers: Attackers,
    brought: Brought,
    *,
    settings: Recipe,
    content: dict[str, Any],
    record: dict[str, Any] | None,
    accuracy: dict[str, Any],
    origin: str = "",
) -> dict[str, Any]:
    """The content of ``model.audit.json`` around what was measured.

    Args:
        subject: what was examined.
        attackers: who compared it with models of their own.
        brought: what the user gave for that.
        settings: as they were asked for.
        content: what was measured, ``likeness`` included.
        record: of the data, as a manifest keeps it.
        accuracy: of ``accuracy_of``.
        origin: how the attackers' models were trained first, where that is a guess at the target's training (``alike``).

    Returns:
        The content, with settings and warnings.
    """
    report = described(subject.model, subject.asked, settings, record, content, attackers.references)
    report |= {"accuracy": accuracy}
    # Both say that the model may be no good; what was asked of more inputs says it better.
    report["warnings"] += accuracy["warnings"] or subject.opened.doubts
    # Models of an attacker who does not know the defence are expected to differ from the target.
    report["warnings"] += warnings_of(content["likeness"].get("adaptive"), origin)
    report["warnings"] += [*attackers.warnings, *subject.opened.warnings]
    for release in subject.releases:
        doubts = (*release.opened.doubts, *release.opened.warnings)
        report["warnings"] += [f"{release.model.name}: {sentence}" for sentence in doubts]
    report["warnings"] += [sentence for known in attackers.releases.values() for sentence in known.warnings]
    if attackers.references:
        records = next(iter(attackers.fleets.values())).records
        report["reference_records"] = records
        report["warnings"] += of_another_size(records, len(subject.whole.members), brought)
    if brought.anything:
        report["settings"]["brought"] = brought.options()
    return report
