"""What the user brings in place of reference models that an audit would train by the target's recipe."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from edgepriv import progress
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.agreement import fleet_of, refuse_unlearned, refuse_untrained
from edgepriv.audit.alike import TRAINED_HERE
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.examples import Examples
from edgepriv.audit.existing import FEWEST, Existing, membership_in, of_models, scores_in
from edgepriv.audit.feeding import Feeding, Told, feeding_of
from edgepriv.audit.own_fleet import trained_by
from edgepriv.audit.references import Fleet, candidates_of
from edgepriv.audit.run import Target, answers, observed
from edgepriv.audit.target import Opened, open_target
from edgepriv.audit.trainer import Trainer
from edgepriv.audit.workers import LOCAL
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.recipe import Audit, Recipe
from edgepriv.recipe.defences import DEFENCES
from edgepriv.training.device import device_of


@dataclass(frozen=True)
class Reference:
    """A reference model that exists: the file, opened, and the file that says which records it was trained on."""

    model: DeployedModel
    members: Path


@dataclass(frozen=True)
class Brought:
    """``scores``: an .npz of answers and memberships. ``models``: of the folder ``folder``. ``trainer``: makes models as the
    target was made, with its defence; ``defence_free``: without. At most one of ``scores``, ``folder`` and ``trainer``."""

    scores: Path | None = None
    folder: Path | None = None
    models: tuple[Reference, ...] = ()
    trainer: Trainer | None = None
    defence_free: Trainer | None = None

    @property
    def exists(self) -> bool:
        """Whether reference models are there already."""
        return self.scores is not None or self.folder is not None

    @property
    def who(self) -> str:
        """The models, for a message."""
        if self.trainer is not None:
            return f"the models of {self.trainer.title}"
        return f"the reference models in {self.scores or self.folder}" if self.exists else TRAINED_HERE

    @property
    def anything(self) -> bool:
        """Whether the user brings anything."""
        return self.exists or self.trainer is not None

    def options(self) -> dict[str, str]:
        """Option of the command line -> its value, for those who run the audit again."""
        trainers = [each and each.title for each in (self.trainer, self.defence_free)]
        named = {
            "reference-scores": self.scores,
            "reference-models": self.folder,
            "trainer": trainers[0],
            "defence-free": trainers[1],
        }
        return {option: str(path) for option, path in named.items() if path is not None}


NOTHING_BROUGHT = Brought()
ALIKE = 0.9
"""Share of the target's records from which on a reference model counts as trained on as many."""


def refuse_unused(brought: Brought, attacks: Sequence[str], asked: Audit, *, on_files: bool) -> None:
    """Raise UserError where nothing of the audit has a use for what was brought, or what is asked of it has none.

    ``on_files``: of an audit on two files, whose trainer makes reference models and no shadow model.
    """
    if not brought.anything:
        return
    uses = {"references"} if brought.exists or on_files else {"references", "shadow"}
    needed = {need for name in attacks for need in ATTACKS[name].needs} & uses
    if not needed:
        raise UserError(
            f"none of the attacks has a use for {brought.who}: leave it out, or choose others with --attacks"
        )
    if brought.trainer is None:
        return
    if asked.engine != LOCAL:
        raise UserError("--trainer runs your script on this machine: leave out --engine")
    fewest = FEWEST if on_files else 1
    if needed == {"references"} and asked.references < fewest:
        raise UserError(
            f"--references {asked.references}: --trainer is to train {fewest} reference models at least; leave it out to "
            "audit without any"
        )


def refuse_lost_defences(brought: Brought, trained_by: Recipe, threat_models: Sequence[str]) -> None:
    """Raise UserError where the target's own stage ``train``, which the user's function takes the place of, had a defence of
    edgepriv's: models without it are no adaptive attacker's. ``trained_by``: the target's recipe."""
    if brought.trainer is None or "adaptive" not in threat_models:
        return
    lost = [each.title for each in DEFENCES.values() if "train" in each.stages_in(trained_by)]
    if lost:
        raise UserError(
            f"edgepriv trained this model with {' and '.join(lost)}, which the models of {brought.trainer.title} would lack: "
            "leave out --trainer, so that they are trained by the model's recipe, or ask for --threat-model oblivious"
        )


def refuse_untrained_fleets(
    brought: Brought, fleets: Mapping[str, Fleet], target: Target, dataset: Dataset, split: Split
) -> None:
    """As ``refuse_untrained``, of models that the user's function made for a target with a manifest."""
    if brought.trainer is None:
        return
    seen = observed(target, dataset, candidates_of(split))
    for fleet in fleets.values():
        refuse_untrained(brought.who, fleet, seen)


def existing_fleets(
    brought: Brought,
    examples: Examples,
    target: Target,
    split: Split,
    told: Told,
    *,
    seed: int,
    threat_models: Sequence[str],
) -> tuple[dict[str, Fleet], list[str], list[str]]:
    """The fleet of the references that exist, under the threat model that they are of; sentences on it, and warnings.

    ``examples``: under the classes of the audited model, as ``open_target`` returns them, ``split`` of them. Nobody says
    whether the defence of the target was known to who made them: they count as ``adaptive`` unless the audit is asked for
    ``oblivious`` alone.
    """
    dataset = examples.dataset
    if brought.scores is not None:
        existing = scores_in(brought.scores, len(dataset), dataset.num_classes)
    else:
        existing = _asked(brought, examples, told, target)
    fleet, warnings = fleet_of(existing, dataset, split, observed(target, dataset, candidates_of(split)), seed=seed)
    threat_model = "oblivious" if tuple(threat_models) == ("oblivious",) else "adaptive"
    made = "without" if threat_model == "oblivious" else "as the audited model was, with"
    other = "adaptive" if threat_model == "oblivious" else "oblivious"
    notes = [
        f"{len(existing.names)} reference models of {existing.where}, each trained on {fleet.records:,} of the records: taken "
        f"for models trained {made} its defence (--threat-model {other} if they were not)"
    ]
    return {threat_model: fleet}, warnings, notes


def refuse_unlearned_fleets(
    brought: Brought, fleets: Mapping[str, Fleet], target: Target, dataset: Dataset, split: Split
) -> None:
    """As ``refuse_unlearned``, of whatever was brought."""
    candidates = candidates_of(split)
    for fleet in fleets.values():
        refuse_unlearned(
            brought.who,
            fleet,
            observed(target, dataset, candidates),
            np.arange(len(candidates)) < len(split.members),
        )


def of_another_size(records: int, members: int, brought: Brought = NOTHING_BROUGHT) -> list[str]:
    """A warning where reference models were trained on another number of records than the target."""
    if ALIKE * members <= records and (not brought.anything or ALIKE * records <= members):
        return []
    sizes = f"each reference model was trained on {records:,} records, the target on {members:,}"
    if brought.exists:
        return [
            f"{sizes}: models that know fewer or more records know each of them otherwise, and attacks with reference models "
            "may find less than they would with models of the target's size"
        ]
    return [
        f"{sizes}: there are too few others for more, and attacks with reference models may find less than they would with "
        "models of the target's size; more non-members help"
    ]


def own_fleets(
    brought: Brought,
    examples: Examples,
    opened: Opened,
    split: Split,
    told: Told,
    *,
    recipe: Recipe,
    cache_dir: Path,
) -> tuple[dict[str, Fleet], list[str], list[str]]:
    """The fleets that the user's trainers make for a file that edgepriv did not make, by threat model; sentences and warnings
    as for ``existing_fleets``."""
    trainers = {"adaptive": brought.trainer, "oblivious": brought.defence_free}
    wanted = [name for name in recipe.audit.threat_models if trainers[name] is not None]
    if not wanted:
        raise UserError(
            "an oblivious attacker trains without the defence of the target: name the function that does so with --defence-free"
        )
    target = observed(opened.target, examples.dataset, candidates_of(split))
    own = examples.dataset
    if examples.kind == "other":
        own = replace(own, x=examples.raw.astype(np.float32))
    feeding = _fed_of_own(examples, told)
    fleets: dict[str, Fleet] = {}
    warnings: list[str] = []
    notes: list[str] = []
    if "oblivious" in recipe.audit.threat_models and brought.defence_free is None:
        notes.append(
            "no attacker who does not know the defence: --defence-free names the function that trains without it, if there is "
            "one"
        )
    for name in wanted:
        trainer = trainers[name]
        assert trainer is not None  # those that are wanted
        existing, folder = trained_by(
            trainer,
            own,
            split,
            count=recipe.audit.references,
            cache_dir=cache_dir,
            feeding=feeding,
            device=device_of(recipe.device),
            jobs=os.cpu_count() or 1,
            alone=told.batch_dependent,
        )

        @cache
        def answered(r: int, existing: Existing = existing, folder: Path = folder) -> np.ndarray:
            onnx = folder / f"{existing.names[r]}.onnx"
            if not onnx.is_file():
                return existing.answers(r)
            model = DeployedModel(onnx, onnx.read_bytes())
            return answers_of(model, examples, told, existing.member[r])

        fleets[name], more = fleet_of(
            replace(existing, answers=answered), examples.dataset, split, target, seed=split.seed
        )
        warnings += more
        notes.append(
            f"{len(existing.names)} reference models of {trainer.title}, each trained on {fleets[name].records:,} records"
        )
    return fleets, warnings, notes


def _fed_of_own(examples: Examples, told: Told) -> Feeding:
    """What the target is fed of the user's own numbers, which bytes are as numbers in [0, 1]."""
    low, high = (examples.kind != "other" and told.input_range) or (0.0, 1.0)
    return feeding_of(low, high, told.mean, told.std, examples.dataset.input_shape)


def _asked(brought: Brought, examples: Examples, told: Told, target: Target) -> Existing:
    records = len(examples.dataset)
    member = np.stack([membership_in(each.members, records) for each in brought.models])
    names = [each.model.name for each in brought.models]

    @cache
    def answered(r: int) -> np.ndarray:
        return answers_of(brought.models[r].model, examples, told, member[r])

    for r in progress.each(range(len(names)), "reference models", unit="model", total=len(names)):
        answered(r)
    return of_models(brought.folder or Path(), names, answered, member)


def answers_of(model: DeployedModel, examples: Examples, told: Told, member: np.ndarray) -> np.ndarray:
    """Probabilities [N, K] of another model than the audited one, fed as that is, for all ``examples``; ``member``: what it
    was trained on, by which its outputs are read. Raises UserError for one of other classes or inputs."""
    order = np.argsort(~member, kind="stable")
    inside = int(member.sum()) or len(member) // 2
    dataset = replace(
        examples.dataset, x=examples.dataset.x[order], y=examples.dataset.y[order], known_members=inside, groups=None
    )
    own = Told(batch_dependent=told.batch_dependent) if model.is_ours else told
    opened = open_target(model, replace(examples, dataset=dataset, raw=examples.raw[order]), own)
    outputs = answers(opened.target, opened.examples.dataset, np.arange(len(order)))[np.argsort(order)]
    return _columns(model, outputs, opened.examples.dataset.class_names, examples.dataset.class_names)


def _columns(model: DeployedModel, outputs: np.ndarray, own: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """The columns in the order of the audited model's classes, by name where both name them."""
    if len(own) != len(wanted):
        raise UserError(f"{model.path} has {len(own)} classes, the audited model {len(wanted)}")
    if set(own) == set(wanted):
        return outputs[:, [own.index(name) for name in wanted]]
    return outputs
