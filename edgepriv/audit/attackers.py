"""The attackers of an audit who train, or hold, reference models: those that the user brings, opened and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from edgepriv import progress
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.agreement import fleet_of, refuse_unlearned, refuse_untrained
from edgepriv.audit.brought import Brought
from edgepriv.audit.examples import Examples
from edgepriv.audit.existing import Existing, membership_in, of_models, scores_in
from edgepriv.audit.feeding import Feeding, Told, feeding_of
from edgepriv.audit.own_fleet import trained_by
from edgepriv.audit.references import Fleet, candidates_of
from edgepriv.audit.releases import Others
from edgepriv.audit.run import answers, observed
from edgepriv.audit.subject import Subject
from edgepriv.audit.target import open_target
from edgepriv.audit.workers import processors
from edgepriv.errors import UserError
from edgepriv.training.device import device_of


@dataclass(frozen=True)
class Attackers:
    """``fleets``: threat model -> the models that this attacker compares with, the headline first; empty where nothing is
    trained. ``warnings``, ``notes``: what makes figures doubtful, and what else there is to say of them, in sentences.
    ``on_canaries``: threat model -> the same models on the canaries, which are not among the candidates of ``fleets``; empty
    without canaries, and where nobody says that the models were trained on these. ``releases``: threat model -> what this
    attacker knows of other releases of the model; empty without."""

    fleets: Mapping[str, Fleet] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    on_canaries: Mapping[str, Fleet] = field(default_factory=dict)
    releases: Mapping[str, Others] = field(default_factory=dict)

    @property
    def references(self) -> int:
        """Reference models of each attacker."""
        return len(next(iter(self.fleets.values())).right) if self.fleets else 0


def refuse_untrained_fleets(brought: Brought, attackers: Attackers, subject: Subject) -> None:
    """As ``refuse_untrained``, of models that the user's function made for a target with a manifest.

    Args:
        brought: by the user; nothing is checked without a function.
        attackers: with these models.
        subject: what is examined.

    Raises:
        UserError: where models are copies, or do no better than guessing.
    """
    if brought.trainer is None:
        return
    seen = observed(subject.target, subject.dataset, candidates_of(subject.split))
    for fleet in attackers.fleets.values():
        refuse_untrained(brought.who, fleet, seen)


def refuse_unlearned_fleets(brought: Brought, attackers: Attackers, subject: Subject) -> None:
    """As ``refuse_unlearned``, of whatever was brought.

    Args:
        brought: by the user.
        attackers: with these models.
        subject: what is examined.

    Raises:
        UserError: where models do not know what they are said to be trained on.
    """
    candidates = candidates_of(subject.split)
    membership = np.arange(len(candidates)) < len(subject.split.members)
    for fleet in attackers.fleets.values():
        refuse_unlearned(brought.who, fleet, observed(subject.target, subject.dataset, candidates), membership)


def existing_attackers(brought: Brought, subject: Subject) -> Attackers:
    """The attacker who holds the reference models that exist, under the threat model that they are of.

    Nobody says whether the defence of the target was known to who made them: they count as ``adaptive`` unless the audit is
    asked for ``oblivious`` alone.

    Args:
        brought: models, or their answers.
        subject: what is examined.

    Returns:
        One attacker, with warnings and notes.

    Raises:
        UserError: where what is said of the models contradicts itself, the data or the target's answers.
    """
    examples, recipe = subject.opened.examples, subject.recipe
    dataset = examples.dataset
    if brought.scores is not None:
        existing = scores_in(brought.scores, len(dataset), dataset.num_classes)
    else:
        existing = _asked(brought, subject)
    seen = observed(subject.target, dataset, candidates_of(subject.split))
    fleet, warnings = fleet_of(existing, dataset, subject.split, seen, seed=recipe.seed)
    threat_model = "oblivious" if tuple(recipe.audit.threat_models) == ("oblivious",) else "adaptive"
    made = "without" if threat_model == "oblivious" else "as the audited model was, with"
    other = "adaptive" if threat_model == "oblivious" else "oblivious"
    note = (
        f"{len(existing.names)} reference models of {existing.where}, each trained on {fleet.records:,} of the records: taken "
        f"for models trained {made} its defence (--threat-model {other} if they were not)"
    )
    return Attackers({threat_model: fleet}, tuple(warnings), (note,))


def own_attackers(brought: Brought, subject: Subject, cache_dir: Path) -> Attackers:
    """The attackers whose models the user's trainers make for a file that edgepriv did not make.

    Args:
        brought: one trainer, or two.
        subject: what is examined.
        cache_dir: folder of the models.

    Returns:
        An attacker for each threat model that there is a trainer for, with warnings and notes.

    Raises:
        UserError: where there is no trainer for any threat model that is asked for, and for models that contradict the target.
    """
    examples, recipe, split = subject.opened.examples, subject.recipe, subject.split
    trainers = {"adaptive": brought.trainer, "oblivious": brought.defence_free}
    wanted = {name: trainer for name in recipe.audit.threat_models if (trainer := trainers[name]) is not None}
    if not wanted:
        raise UserError(
            "an oblivious attacker trains without the defence of the target: name the function that does so with --defence-free"
        )
    target = observed(subject.target, examples.dataset, candidates_of(split))
    own = examples.dataset
    if examples.kind == "other":
        own = replace(own, x=examples.raw.astype(np.float32))
    feeding = _fed_of_own(examples, subject.told)
    fleets: dict[str, Fleet] = {}
    warnings: list[str] = []
    notes: list[str] = []
    if "oblivious" in recipe.audit.threat_models and brought.defence_free is None:
        notes.append(
            "no attacker who does not know the defence: --defence-free names the function that trains without it, if there is "
            "one"
        )
    for name, trainer in wanted.items():
        existing, folder = trained_by(
            trainer,
            own,
            split,
            count=recipe.audit.references,
            cache_dir=cache_dir,
            feeding=feeding,
            device=device_of(recipe.device),
            jobs=processors(),
            alone=subject.told.batch_dependent,
        )
        answered = cache(partial(_answered_by_own, existing, folder, examples, subject.told))
        fleets[name], more = fleet_of(
            replace(existing, answers=answered), examples.dataset, split, target, seed=split.seed
        )
        warnings += more
        notes.append(
            f"{len(existing.names)} reference models of {trainer.title}, each trained on {fleets[name].records:,} records"
        )
    return Attackers(fleets, tuple(warnings), tuple(notes))


def _answered_by_own(existing: Existing, folder: Path, examples: Examples, told: Told, r: int) -> np.ndarray:
    """What model ``r`` of a trainer answers, which returned a network or an .onnx."""
    onnx = folder / f"{existing.names[r]}.onnx"
    if not onnx.is_file():
        return existing.answers(r)
    return answers_of(DeployedModel(onnx, onnx.read_bytes()), examples, told, existing.member[r])


def _fed_of_own(examples: Examples, told: Told) -> Feeding:
    """What the target is fed of the user's own numbers, which bytes are as numbers in [0, 1]."""
    low, high = (examples.kind != "other" and told.input_range) or (0.0, 1.0)
    return feeding_of(low, high, told.mean, told.std, examples.dataset.input_shape)


def _asked(brought: Brought, subject: Subject) -> Existing:
    examples, told = subject.opened.examples, subject.told
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
    """Probabilities of another model than the audited one, fed as that is.

    Args:
        model: opened.
        examples: of the audited model.
        told: how it is fed and read.
        member: bool [N], what the model was trained on, by which its outputs are read.

    Returns:
        float [N, K], under the audited model's classes.

    Raises:
        UserError: for a model of other classes or inputs.
    """
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
