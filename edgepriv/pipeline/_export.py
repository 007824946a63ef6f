"""Export a checkpoint, quantized as asked, with its proofs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepriv import project
from edgepriv.accuracy import Standard
from edgepriv.artifact.rehearse import few_inputs
from edgepriv.artifact.release import export_with_twin, written_by_export
from edgepriv.errors import UserError
from edgepriv.files import refuse_existing, refuse_overwriting
from edgepriv.models.behaviour import refuse_unsteady
from edgepriv.pipeline._given import NOTHING_WRITTEN, files_named, is_batch_dependent, say_all
from edgepriv.recipe import MAX_DROP, Recipe
from edgepriv.recipe.conflicts import refuse_impossible


# One argument for each option of `edgepriv export`, by its name.
def export(
    model: Path,
    recipe: Recipe | None,
    changes: dict[str, Any],
    output: Path,
    *,
    max_drop: float = MAX_DROP,
    accept_accuracy_loss: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Export a checkpoint, quantized as the options ask, with the proof of parity, and its float twin.

    Args:
        model: a checkpoint, or a bare state_dict that ``recipe`` describes.
        recipe: what a bare state_dict is; None for a checkpoint.
        changes: sections of the recipe by name, as ``Recipe.with_changes`` takes them.
        output: the .onnx file.
        max_drop: points of accuracy that quantization may cost.
        accept_accuracy_loss: write a file that falls below the standard too, with a warning.
        data_dir: folder of the data sets; None for the default one.
        download: fetch a torchvision data set that is not there.
        force: replace files that exist.
        recipe_file: where the recipe was read from.

    Returns:
        What the command prints as JSON.

    Raises:
        UserError: for bad input, and where a proof fails; nothing is written then.
    """
    standard = Standard(max_drop, accept_accuracy_loss)
    if output.suffix != ".onnx":
        raise UserError(f"-o {output}: the name must end in .onnx")
    written = written_by_export(output)
    refuse_overwriting([model, recipe_file, *files_named(recipe, data_dir)], written)
    refuse_existing(written, force)
    alone = is_batch_dependent(changes)
    given = project.open_checkpoint(
        model, recipe, data_dir, download, accept=accept_accuracy_loss, batch_dependent=alone
    )
    refuse_overwriting(files_named(given.checkpoint.recipe, data_dir), written)
    asked = given.checkpoint.recipe.with_changes(**changes)
    refuse_impossible(asked)
    project.refuse_bytes(asked, given.dataset)
    classifier = given.checkpoint.classifier()
    unsteady = refuse_unsteady(classifier, few_inputs(given.dataset, given.split))
    say_all([*classifier.notes, *([unsteady] if unsteady else [])])
    trained = replace(given, checkpoint=given.checkpoint.with_recipe(asked))
    exported = export_with_twin(trained, given.checkpoint, output, standard, NOTHING_WRITTEN)
    return exported | {"said": project.data_notes(given.dataset, given.split)}
