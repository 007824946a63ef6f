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
from edgepriv.pipeline._given import GO_ON, files_named, say_all
from edgepriv.project import beside
from edgepriv.recipe import Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.device import device_of
from edgepriv.training.eps import refuse_guess
from edgepriv.training.resume import remove_resume_state
from edgepriv.training.starting import refuse_random_held, start_notes


def train(
    recipe: Recipe,
    output: Path,
    *,
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
    resume_file, recipe = beside(output, "partial"), identified(recipe)
    start = Path(recipe.start.path) if recipe.start.path else None
    read = [*files_named(recipe, data_dir), recipe_file, start]
    refuse_overwriting(read, [output, resume_file])
    refuse_existing([output], force)
    if recipe.train.epochs == 0:
        raise UserError("train.epochs is 0: there is nothing to train")
    refuse_impossible(recipe)
    device_of(recipe.device)  # one that is not there is refused before the data are read
    dataset, split = project.split_of(recipe, data_dir, download)
    record = project.data_record(dataset, split, recipe.data)
    if recipe.adversary.eps is None:
        refuse_guess(recipe, ("train",), dataset, split)
    recipe, dataset = with_extra(project.resolved(recipe, dataset), dataset, split)
    say_all(start_notes(recipe, dataset.num_classes, dataset.input_shape))
    refuse_random_held(recipe, "train", dataset.num_classes, dataset.input_shape)
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    blank = Checkpoint({}, dataset.class_names, dataset.input_shape, recipe, record)
    if recipe.model.name not in NAMED:  # our own are known to train and to ship
        say_all(rehearse(blank.with_weights(classifier), ("train",), dataset, split))
    training_run = run_stages(classifier, recipe, ("train",), dataset, split, resume_file=resume_file)
    accuracy = accuracy_of(classifier, recipe, dataset, split, Standard(accept=accept_accuracy_loss), GO_ON)
    trained = blank.with_weights(
        classifier, stages=("train",), history=tuple(training_run.history), defences=training_run.defences
    )
    checkpoint.save(output, trained)
    remove_resume_state(resume_file)
    return {
        "checkpoint": str(output),
        "recipe": recipe.model_dump(mode="json"),
        "split": split.record(),
        "said": project.data_notes(dataset, split),
        "history": training_run.history,
        "defences": training_run.defences,
        "accuracy": accuracy,
        "normalisation": {"mean": classifier.mean.tolist(), "std": classifier.std.tolist()},
    }
