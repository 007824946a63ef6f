"""Train a model from scratch."""

from pathlib import Path
from typing import Any

from edgepriv import project
from edgepriv.accuracy import Standard
from edgepriv.artifact.accuracies import accuracy_of
from edgepriv.artifact.rehearse import rehearse
from edgepriv.errors import UserError
from edgepriv.extra_data import with_extra
from edgepriv.files import refuse_existing, refuse_overwriting
from edgepriv.models import Checkpoint, checkpoint
from edgepriv.models.classifier import NAMED
from edgepriv.models.starting import identified
from edgepriv.pipeline._given import files_named, go_on, say_all
from edgepriv.pipeline._public import refuse_members_of_public
from edgepriv.pipeline._twin import as_audited, as_release, refuse_nothing_to_audit, with_canaries
from edgepriv.project import beside
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.device import device_of
from edgepriv.training.eps import refuse_guess
from edgepriv.training.resume import remove_resume_state
from edgepriv.training.starting import normalised_for_dp, refuse_random_held, start_notes
from edgepriv.training.traces import LossTrace
from edgepriv.training.upfront import refuse_idle_augmentation


# One argument for each option of `edgepriv train` that is no field of the recipe, by its name.
def train(
    recipe: Recipe,
    output: Path,
    *,
    audit_twin: bool = False,
    trace_losses: bool = False,
    accept_accuracy_loss: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Train the recipe's model from scratch on its members and write a checkpoint; an interrupted run is resumed.

    Args:
        recipe: data, model and training.
        output: the checkpoint, model.pt.
        audit_twin: train the model without canaries as well: it is ``output`` then, and the one with canaries stands beside it,
            model.canaries.pt.
        trace_losses: write the loss of each member after every epoch to model.losses.npz beside each checkpoint.
        accept_accuracy_loss: write a model that has collapsed too (see ``edgepriv.accuracy``).
        data_dir: folder of the data sets; None for the default one.
        download: fetch a torchvision data set that is not there.
        force: replace ``output`` if it exists.
        recipe_file: where the recipe was read from, here and in the other verbs; like every input it is never overwritten.

    Returns:
        What the command prints as JSON.

    Raises:
        UserError: for bad input, before training; and for a model that has collapsed.
    """
    audited = beside(output, "canaries.pt") if audit_twin else None
    files = [output] if audited is None else [output, audited]
    resumed = [beside(file, "partial") for file in files]
    traced = [beside(file, "losses.npz") for file in files] if trace_losses else []
    recipe = identified(recipe)
    start = Path(recipe.start.path) if recipe.start.path else None
    read = [*files_named(recipe, data_dir), recipe_file, start]
    refuse_overwriting(read, [*files, *resumed, *traced])
    refuse_existing([*files, *traced], force)
    if recipe.train.epochs == 0:
        raise UserError("train.epochs is 0: there is nothing to train")
    if audit_twin:
        refuse_nothing_to_audit(recipe.data.canaries)
    refuse_impossible(recipe)
    device_of(recipe.device)  # one that is not there is refused before the data are read
    standard = Standard(accept=accept_accuracy_loss)
    with project.each_note_once():
        if audited is None:
            trained, content = _trained(recipe, output, standard, data_dir, download, trace_losses)
        else:
            with_them, of_twin = _trained(recipe, audited, standard, data_dir, download, trace_losses)
            plain = with_canaries(recipe, None)
            trained, content = _trained(plain, output, standard, data_dir, download, trace_losses)
            checkpoint.save(audited, as_audited(with_them, output))
            trained = as_release(trained, audited, with_them.recipe.data.canaries)
            content |= {"audited": of_twin}
        checkpoint.save(output, trained)
    for file in resumed:
        remove_resume_state(file)
    return content


def _trained(
    recipe: Recipe, output: Path, standard: Standard, data_dir: Path | None, download: bool, trace_losses: bool
) -> tuple[Checkpoint, dict[str, Any]]:
    """The checkpoint that is to be written to ``output``, and what the command prints of it."""
    dataset, split = project.split_of(recipe, data_dir, download)
    record = project.data_record(dataset, split, recipe.data)
    refuse_idle_augmentation(recipe, ("train",), dataset.input_shape)
    trace = LossTrace(split.members, dataset.sha256) if trace_losses else None
    if recipe.adversary.eps is None:
        refuse_guess(recipe, ("train",), dataset, split)
    recipe, dataset = with_extra(project.resolved(recipe, dataset), dataset, split)
    say_all(refuse_members_of_public(recipe, dataset, split, data_dir))
    recipe, changed = normalised_for_dp(recipe, dataset.num_classes, dataset.input_shape)
    say_all(changed)
    say_all(start_notes(recipe, dataset.num_classes, dataset.input_shape))
    refuse_random_held(recipe, "train", dataset.num_classes, dataset.input_shape)
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    blank = Checkpoint({}, dataset.class_names, dataset.input_shape, recipe, record)
    if recipe.model.name not in NAMED:  # our own are known to train and to ship
        say_all(rehearse(blank.with_weights(classifier), ("train",), dataset, split))
    training_run = run_stages(
        classifier, recipe, ("train",), dataset, split, resume_file=beside(output, "partial"), trace=trace
    )
    accuracy = accuracy_of(classifier, recipe, dataset, split, standard, go_on(recipe))
    trained = blank.with_weights(
        classifier, stages=("train",), history=tuple(training_run.history), defences=training_run.defences
    )
    if trace is not None:
        if gap := gap_in(trace, len(training_run.history)):
            project.warn(gap)
        trace.write(beside(output, "losses.npz"))
    return trained, {
        "checkpoint": str(output),
        "recipe": recipe.model_dump(mode="json"),
        "split": split.record(),
        "said": project.data_notes(dataset, split),
        "history": training_run.history,
        "defences": training_run.defences,
        "accuracy": accuracy,
        "normalisation": {"mean": classifier.mean.tolist(), "std": classifier.std.tolist()},
    }


def gap_in(trace: LossTrace, epochs: int) -> str:
    """What a trace lacks where training was interrupted.

    Args:
        trace: of the training.
        epochs: that it took.

    Returns:
        A sentence; empty where nothing is missing.
    """
    missing = epochs - len(trace.epochs)
    if missing <= 0:
        return ""
    return (
        f"the loss trace lacks the first {missing} of {epochs} epochs, which ran before training was interrupted: train anew "
        "for a whole one"
    )
