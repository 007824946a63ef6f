"""What the user brings in place of reference models that an audit would train by the target's recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.alike import TRAINED_HERE
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.existing import FEWEST
from edgepriv.audit.trainer import Trainer
from edgepriv.audit.workers import LOCAL
from edgepriv.errors import UserError
from edgepriv.recipe import Audit, Recipe
from edgepriv.recipe.defences import DEFENCES


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
    """Refuse what was brought where the audit has no use for it, or what is asked of it where it has none.

    Args:
        brought: by the user.
        attacks: names of ``ATTACKS``.
        asked: settings of the audit.
        on_files: of an audit on two files, whose trainer makes reference models and no shadow model.

    Raises:
        UserError: where no attack has a use for it; where a trainer is to run on other machines, or makes too few models.
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


def unused_settings(brought: Brought, changes: Mapping[str, Any], *, on_files: bool) -> list[str]:
    """A sentence where what the user asks for is about training reference models, and none are trained.

    Args:
        brought: by the user.
        changes: sections of the recipe by name, as the user asks for them.
        on_files: of an audit on two files.

    Returns:
        One sentence, or none.
    """
    if brought.trainer is not None or not (on_files or brought.exists):
        return []
    asked = changes.get("audit") or {}
    stated = [f"--{name}" for name in ("references", "engine") if asked.get(name) not in (None, getattr(Audit(), name))]
    if not stated:
        return []
    why = f"{brought.who} are there already" if brought.exists else "for two files none are trained without --trainer"
    return [f"{' and '.join(stated)} not used: {why}"]


def refuse_lost_defences(brought: Brought, trained_by: Recipe, threat_models: Sequence[str]) -> None:
    """Refuse a trainer that takes the place of the stage ``train`` where that had a defence of edgepriv's.

    Models without it are no adaptive attacker's.

    Args:
        brought: by the user.
        trained_by: the target's recipe.
        threat_models: that are asked for.

    Raises:
        UserError: where an adaptive attacker's models would lack the defence.
    """
    if brought.trainer is None or "adaptive" not in threat_models:
        return
    lost = [each.title for each in DEFENCES.values() if "train" in each.stages_in(trained_by)]
    if lost:
        raise UserError(
            f"edgepriv trained this model with {' and '.join(lost)}, which the models of {brought.trainer.title} would lack: "
            "leave out --trainer, so that they are trained by the model's recipe, or ask for --threat-model oblivious"
        )


def refuse_lost_pipeline(brought: Brought, trained_by: Recipe, threat_models: Sequence[str]) -> list[str]:
    """Refuse to train reference models without the user's script on whose batches and loss the target was hardened.

    Args:
        brought: by the user.
        trained_by: the target's recipe.
        threat_models: that are asked for.

    Returns:
        A sentence where the script has changed since; else none.

    Raises:
        UserError: where an adaptive attacker's models would be trained without the script.
    """
    own = trained_by.pipeline
    if not own.active or "adaptive" not in threat_models or brought.exists:
        return []
    if brought.trainer is None:
        raise UserError(
            f"this model was hardened on the batches and loss of {own.script}, and so must reference models be: name that "
            "script with --trainer, or ask for --threat-model oblivious"
        )
    if brought.trainer.code == own.code:
        return []
    return [
        f"{brought.trainer.title}, or what it imports, is not the version that this model was hardened with: reference models "
        "are adaptive only as far as the two train alike"
    ]


def refuse_unused_start(brought: Brought, path: str | None, *, on_files: bool) -> None:
    """Refuse public weights that no reference model of the audit would start from.

    Args:
        brought: by the user.
        path: of the weights; None where none are named.
        on_files: of an audit on two files.

    Raises:
        UserError: for weights beside reference models that exist, and for an audit that trains none by a recipe.
    """
    if path is None:
        return
    if brought.exists:
        raise UserError(f"--start-weights {path}: {brought.who} are there already, so leave it out")
    if on_files:
        raise UserError(
            f"--start-weights {path}: of two files it is not known which network made the model; let the function of "
            "--trainer load these weights"
        )


def of_another_size(records: int, members: int, brought: Brought = NOTHING_BROUGHT) -> list[str]:
    """A warning where reference models were trained on another number of records than the target.

    Args:
        records: that each of them was trained on.
        members: of the target.
        brought: by the user.

    Returns:
        One sentence, or none.
    """
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
