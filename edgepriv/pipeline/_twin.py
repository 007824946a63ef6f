"""``--audit-twin``: the same training with canaries, to be audited, and without, to ship; and a base with other canaries."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepriv import data, project
from edgepriv.errors import UserError
from edgepriv.extra_data import with_extra
from edgepriv.files import sha256_of
from edgepriv.models import Checkpoint
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages

AUDITED, SHIPS = "audited", "ships"


def with_canaries(recipe: Recipe, canaries: str | None) -> Recipe:
    """A recipe with other canaries.

    Args:
        recipe: any.
        canaries: as a recipe writes them; None for none.

    Returns:
        The copy.
    """
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"canaries": canaries})})


def as_audited(checkpoint: Checkpoint, ships: Path) -> Checkpoint:
    """A checkpoint with canaries that says what ships in its place.

    Args:
        checkpoint: trained with canaries.
        ships: the file that was trained without.

    Returns:
        The copy, which says so in its record of the data.
    """
    return _saying(checkpoint, {"role": AUDITED, "ships": ships.name})


def as_release(checkpoint: Checkpoint, audited: Path, canaries: str | None) -> Checkpoint:
    """A checkpoint without canaries that says which file is audited in its place.

    Args:
        checkpoint: trained without canaries.
        audited: the file that was trained with them; it is there.
        canaries: as its recipe writes them.

    Returns:
        The copy, which says so in its record of the data, with the sha256 of the file.
    """
    told = {"role": SHIPS, "audited": audited.name, "sha256": sha256_of(audited), "canaries": canaries}
    return _saying(checkpoint, told)


def _saying(checkpoint: Checkpoint, told: dict[str, Any]) -> Checkpoint:
    return replace(checkpoint, data=(checkpoint.data or {}) | {"audit_twin": told})


def canaries_of(checkpoint: Checkpoint, *, of_twin: bool) -> str | None:
    """The canaries that a checkpoint was trained with.

    Args:
        checkpoint: any.
        of_twin: take those of its audited twin where it was trained without.

    Returns:
        As its recipe writes them; None without any.
    """
    own = checkpoint.recipe.data.canaries
    told = (checkpoint.data or {}).get("audit_twin", {})
    return told.get("canaries") if own is None and of_twin else own


def refuse_nothing_to_audit(canaries: str | None) -> None:
    """Refuse an audit twin without canaries.

    Args:
        canaries: as a recipe writes them; None for none.

    Raises:
        UserError: without any.
    """
    if canaries is None:
        raise UserError(
            "--audit-twin trains the model with canaries, to be audited, and without, to ship: say which with --canaries"
        )


def based_on(
    path: Path, given: project.Trained, canaries: str | None, data_dir: Path | None, resume_file: Path, device: str
) -> project.Trained:
    """A checkpoint that was trained as another, on data with other canaries, or none.

    The twin that ``edgepriv train --audit-twin`` has written beside the checkpoint is taken where it is the one that is meant,
    else the stage ``train`` is run again.

    Args:
        path: of the checkpoint.
        given: the checkpoint, with its data and split.
        canaries: as a recipe writes them; None for none.
        data_dir: folder of the data sets; None for the default one.
        resume_file: where the training is kept, epoch by epoch.
        device: on which it is trained.

    Returns:
        The checkpoint with its data and split; ``given`` itself where its canaries are these.

    Raises:
        UserError: for weights that were not trained here.
    """
    trained_by = given.checkpoint.recipe
    if canaries == trained_by.data.canaries:
        return given
    beside = _beside(path, given, canaries, data_dir)
    if beside is not None:
        return beside
    if given.checkpoint.elsewhere:
        raise UserError(
            f"{path} was trained elsewhere, and canaries are learnt from the first stage on: train with edgepriv train "
            f"--canaries {canaries}"
        )
    recipe = with_canaries(trained_by, canaries).with_changes(device=device)
    record = {
        name: value for name, value in (given.checkpoint.data or {}).items() if name not in ("canaries", "audit_twin")
    }
    dataset, split = project.recorded_data(record, data_dir, str(path))
    dataset = data.with_canaries(dataset, split, recipe.data)
    for line in data.canary_notes(dataset):
        project.say(line)
    project.say(
        f"the stage train of {path.name} is run again, {'without canaries' if canaries is None else 'with them'}"
    )
    if dataset.canaries is not None:
        record["canaries"] = dataset.canaries.record
    recipe, dataset = with_extra(recipe, dataset, split)
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    run = run_stages(classifier, recipe, ("train",), dataset, split, resume_file=resume_file)
    blank = replace(given.checkpoint, recipe=recipe, data=record, defences=run.defences, history=tuple(run.history))
    return project.Trained(blank.with_weights(classifier), dataset, split, given.warnings)


def _beside(path: Path, given: project.Trained, canaries: str | None, data_dir: Path | None) -> project.Trained | None:
    """The audited twin of a checkpoint that ships, unchanged since."""
    told = (given.checkpoint.data or {}).get("audit_twin", {})
    if told.get("role") != SHIPS or told["canaries"] != canaries:
        return None
    twin = path.with_name(Path(told["audited"]).name)
    if not twin.is_file() or sha256_of(twin) != told["sha256"]:
        return None
    alone = given.checkpoint.recipe.model.batch_dependent
    return project.open_checkpoint(twin, _confirming(given.checkpoint.recipe), data_dir, batch_dependent=alone)


def _confirming(recipe: Recipe) -> Recipe:
    """What confirms the user's own module, which the checkpoint beside may name as this one did."""
    return Recipe(model={"name": recipe.model.name})
