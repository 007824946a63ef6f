"""Other releases of the audited model: whether they have the same members, and whether they come from the same training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgepriv import data
from edgepriv.artifact.contract import Contract
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.manifest import Manifest, path_beside
from edgepriv.audit.alike import likeness, warnings_of
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.brought import Brought
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.examples import Examples, of_dataset
from edgepriv.audit.feeding import Told
from edgepriv.audit.lineage import Relation, related, training_of
from edgepriv.audit.references import Fleet, candidates_of
from edgepriv.audit.run import observed, with_fleet
from edgepriv.audit.target import Opened, open_target
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.recipe import Recipe, parse


@dataclass(frozen=True)
class Release:
    """A release beside the audited file. ``model``: the file; ``opened``: how it is fed and read. ``relation``: to the audited
    file, and ``why``, in words. ``training``: which training it comes from, 0 that of the audited file. ``recipe``: what its
    reference models are trained by; None where those of the audited file stand for it."""

    model: DeployedModel
    opened: Opened
    relation: Relation
    why: str
    training: int
    recipe: Recipe | None = None


@dataclass(frozen=True, eq=False)
class Others:
    """What an attacker knows of other releases: ``evidence`` on each, and which ``trainings`` the audited file, and then each
    of these, come from. ``warnings``: where reference models are not like the release that they stand for, in sentences."""

    evidence: tuple[Evidence, ...]
    trainings: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    def beside(self, plain: Evidence) -> Evidence:
        """The evidence on the audited file with that on the others.

        Args:
            plain: of the audited file.

        Returns:
            The same evidence with ``releases``.
        """
        return replace(plain, releases=self.evidence, trainings=self.trainings)


def refuse_idle(
    also: Sequence[DeployedModel], attacks: Sequence[str], brought: Brought, asked: Recipe, *, on_files: bool
) -> None:
    """Refuse other releases where no attack will combine them.

    Args:
        also: the other files.
        attacks: names of ``ATTACKS``.
        brought: by the user, in place of models that are trained.
        asked: settings of the audit.
        on_files: of an audit on two files.

    Raises:
        UserError: where no attack on several releases is asked for, or no reference models are.
    """
    if not also:
        return
    name = also[0].path
    if not any("releases" in ATTACKS[attack].needs for attack in attacks):
        raise UserError(
            f"--also {name}: none of the attacks combines releases: leave it out, or add releases/lira-online to --attacks"
        )
    if on_files and not brought.anything:
        raise UserError(
            f"--also {name}: releases are combined by reference models, and for two files none are trained: bring them with "
            "--trainer, --reference-models or --reference-scores"
        )
    if not brought.exists and asked.audit.references == 0:
        raise UserError(f"--also {name}: releases are combined by reference models, and --references 0 trains none")
    if not brought.exists and "adaptive" not in asked.audit.threat_models:
        raise UserError(
            f"--also {name}: whoever does not know the defence trains one kind of model for all releases, so that nothing is "
            "combined: ask for --threat-model adaptive"
        )


def opened_release(
    also: DeployedModel, examples: Examples, told: Told, contract: Contract, *, cut_head: bool
) -> tuple[DeployedModel, Opened]:
    """Another release, fed with the examples of the audited file.

    Args:
        also: the other file.
        examples: of the audited file.
        told: how that is fed and read; a file of edgepriv's says so itself.
        contract: of the audited file.
        cut_head: whether heads are cut off, where there are any.

    Returns:
        The file that is asked, and how.

    Raises:
        UserError: where it cannot be opened, takes other inputs, knows other classes, or returns labels only.
    """
    classes = also.contract.classes
    if classes != contract.classes:
        raise UserError(
            f"--also {also.path}: it tells {classes} classes apart, the audited file {contract.classes}: these are not "
            "releases of one model"
        )
    if cut_head and (also.answers_through is not None or also.chooses_label):
        also = also.cut_open()
    if also.contract.returns == "label":
        raise UserError(f"--also {also.path}: it returns labels only, of which there is no likelihood ratio")
    own = Told(batch_dependent=told.batch_dependent) if also.is_ours else told
    try:
        return also, open_target(also, examples, own)
    except UserError as refused:
        raise UserError(f"--also: {refused}") from refused


def released_with(
    model: DeployedModel,
    known: Manifest,
    also: Sequence[DeployedModel],
    dataset: Dataset,
    split: Split,
    told: Told,
    *,
    cut_head: bool,
    shared: bool,
) -> list[Release]:
    """The other releases of a model whose manifest says who was a member.

    Args:
        model: the audited file.
        known: its manifest.
        also: the other files.
        dataset: of the audited file.
        split: who is a member of it, canaries included.
        told: what the user states.
        cut_head: whether heads are cut off.
        shared: whether the reference models of the audited file are there already, and stand for all releases.

    Returns:
        One for each file, in their order.

    Raises:
        UserError: for a file without a manifest of its own, with other members, and as ``opened_release``.
    """
    releases: list[Release] = []
    for other in also:
        own = other.verified_manifest()
        if own is None:
            _ = other.graph  # a file that is none is called so first
            raise UserError(
                f"--also {other.path}: there is no {path_beside(other.path).name} beside it, so nothing says whom it was "
                "trained on"
            )
        _refuse_other_members(model, known, other, own, dataset, split)
        asked, opened = opened_release(other, of_dataset(dataset), told, model.contract, cut_head=cut_head)
        recipe = parse(own.recipe, str(path_beside(other.path))).as_run(own.stages)
        if asked is not other:
            recipe = recipe.with_changes(head={"method": "none"})
        placed = _placed(model, releases, other, opened, None if shared else recipe)
        if placed.recipe is not None and placed.training > 0 and recipe.dp.active and recipe.dp.seed is None:
            # By the recipe of another release, perhaps, but with noise of its own: so have its reference models.
            placed = replace(placed, recipe=recipe.with_changes(dp={"seed": placed.training}))
        releases.append(placed)
    return releases


def released_on_files(
    model: DeployedModel, also: Sequence[DeployedModel], examples: Examples, told: Told, *, cut_head: bool
) -> list[Release]:
    """The other releases of a model of which the user says who was a member.

    Args:
        model: the audited file.
        also: the other files.
        examples: members and non-members of all of them.
        told: what the user states.
        cut_head: whether heads are cut off.

    Returns:
        One for each file, in their order; the reference models of the audited file stand for them.

    Raises:
        UserError: as ``opened_release``.
    """
    releases: list[Release] = []
    for other in also:
        _refuse_manifest_of_others(model, other)
        _, opened = opened_release(other, examples, told, model.contract, cut_head=cut_head)
        releases.append(_placed(model, releases, other, opened, None))
    return releases


def _refuse_manifest_of_others(model: DeployedModel, other: DeployedModel) -> None:
    """The user says who was a member of both files; where both have manifests, these must not say otherwise."""
    own = other.verified_manifest()
    records = [each.data for each in (model.manifest, own) if each is not None and each.data is not None]
    told = [(each["sha256"], each["split"]["sha256"]["members"], each.get("canaries")) for each in records]
    if len(told) == 2 and told[0] != told[1]:
        raise UserError(f"--also {other.path}: its members are not those of {model.path}, as their manifests tell")


def _placed(
    model: DeployedModel, before: Sequence[Release], other: DeployedModel, opened: Opened, recipe: Recipe | None
) -> Release:
    """A release, by how it is related to the audited file and to the releases before it. Raises UserError for one that is
    named twice: its scores would count twice."""
    twice = next((one.model for one in before if one.model.sha256 == other.sha256), None)
    if twice is not None:
        raise UserError(f"--also {other.path} is the same file as --also {twice.path}, byte for byte: name it once")
    relations = [related(one, other) for one in (model, *(release.model for release in before))]
    training = training_of(relations, [0, *(release.training for release in before)])
    return Release(other, opened, *relations[0], training, recipe)


def evidence_of(release: Release, split: Split, fleet: Fleet, seed: int) -> Evidence:
    """What an attacker knows of another release.

    Args:
        release: the other file.
        split: who is a member, without canaries.
        fleet: reference models of this release, on the same candidates and trained on the same of them as the audited file's.
        seed: of the attacks.

    Returns:
        The evidence on the candidates, in the order of the audited file's.
    """
    target, dataset = release.opened.target, release.opened.examples.dataset
    plain = Evidence(observed(target, dataset, candidates_of(split)), seed=seed, labels_only=target.labels_only)
    return with_fleet(plain, target, dataset, replace(fleet, shadow=None))


def known_of(releases: Sequence[Release], split: Split, fleets: Sequence[Fleet], seed: int) -> Others:
    """What an attacker knows of all releases together.

    Args:
        releases: beside the audited file.
        split: who is a member, without canaries.
        fleets: reference models of each release.
        seed: of the attacks.

    Returns:
        The evidence on each, with the trainings that they come from.
    """
    evidence = [evidence_of(release, split, fleet, seed) for release, fleet in zip(releases, fleets, strict=True)]
    warnings = []
    for release, fleet in zip(releases, fleets, strict=True):
        target, dataset = release.opened.target, release.opened.examples.dataset
        unlike = warnings_of(likeness(target, dataset, split, fleet))
        warnings += [f"{release.model.name}: {sentence}" for sentence in unlike]
    return Others(tuple(evidence), (0, *(release.training for release in releases)), tuple(warnings))


def _refuse_other_members(
    model: DeployedModel, known: Manifest, other: DeployedModel, own: Manifest, dataset: Dataset, split: Split
) -> None:
    records: list[Mapping[str, Any]] = [each.data or {} for each in (known, own)]
    what = f"--also {other.path}: its members are not those of {model.path}"
    if not records[1]:
        raise UserError(f"--also {other.path}: its manifest does not say whom it was trained on")
    for key, which in (
        ("sha256", "other data"),
        ("encoding", "rows encoded in another way"),
        ("canaries", "other canaries, or with none where this one has some"),
    ):
        if records[0].get(key) != records[1].get(key):
            raise UserError(f"{what}: it was trained on {which}")
    digests = [each["split"]["sha256"] for each in records]
    if all(digests[0][role] == digests[1][role] for role in ("members", "non_members")):
        return
    theirs = data.remake_split(dataset, records[1]["split"])
    for role in ("members", "non_members"):  # the same records may have been drawn in another order
        if not np.array_equal(np.sort(getattr(split, role)), np.sort(getattr(theirs, role))):
            raise UserError(f"{what}: it was trained, or is compared, with other records of the same data")
