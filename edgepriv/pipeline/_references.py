"""Reference models of the user's own, opened for an audit."""

from pathlib import Path

from edgepriv.artifact import manifest
from edgepriv.artifact.build import build_graph
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.integers import integers_of
from edgepriv.audit.brought import Brought, Reference
from edgepriv.audit.existing import models_in
from edgepriv.audit.trainer import trainer_of
from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, checkpoint
from edgepriv.models.reading import load_tensors
from edgepriv.models.sources import refuse_unconfirmed
from edgepriv.recipe import Model, parse


def brought_by(
    target: DeployedModel,
    confirmed: Model | None,
    folder: Path | None,
    scores: Path | None,
    trainer: str | None,
    defence_free: str | None,
) -> Brought:
    """What ``--reference-models``, ``--reference-scores``, ``--trainer`` and ``--defence-free`` name.

    Args:
        target: the model that is audited.
        confirmed: the user's own network, as the command names it; None if it was not named.
        folder: of reference models, or None.
        scores: file of what reference models answer, or None.
        trainer: function that trains reference models, or None.
        defence_free: the same without the target's defence, or None.

    Returns:
        Reference models, their answers, or what trains them; nothing where no option was given.

    Raises:
        UserError: for options that exclude each other, for what is no model, and for a script that cannot be run.
    """
    given = {"--reference-models": folder, "--reference-scores": scores, "--trainer": trainer}
    several = [option for option, value in given.items() if value is not None]
    if len(several) > 1:
        raise UserError(f"{' and '.join(several)} exclude each other: each says where reference models come from")
    if defence_free is not None and trainer is None:
        raise UserError("--defence-free is for an audit with --trainer: it is the same training without the defence")
    if trainer is not None:
        return Brought(
            trainer=trainer_of("--trainer", trainer),
            defence_free=None if defence_free is None else trainer_of("--defence-free", defence_free),
        )
    if folder is None:
        return Brought(scores)
    pairs = [(path, members) for path, members in models_in(folder)]
    return Brought(None, folder, tuple(Reference(_opened(path, target, confirmed), members) for path, members in pairs))


def _opened(path: Path, target: DeployedModel, confirmed: Model | None) -> DeployedModel:
    """The file, or what a checkpoint would be exported as: with integers of the target's bits."""
    if path.suffix == ".onnx":
        return DeployedModel.open(path)
    known = target.manifest
    reference = _checkpoint(path, target, confirmed)
    if known is not None:
        if target.answers_through is not None:
            raise UserError(
                f"{path} answers without the head of {target.name}: pass the .onnx that are exported with one"
            )
        recipe = parse(known.recipe, str(manifest.path_beside(target.path)))
        reference = reference.with_recipe(reference.recipe.with_changes(quantize=recipe.quantize.model_dump()))
    classifier = reference.classifier()
    built = build_graph(
        classifier,
        integers_of(reference, classifier),
        input_shape=reference.input_shape,
        class_names=reference.class_names,
    )
    return DeployedModel(path, built.content)


def _checkpoint(path: Path, target: DeployedModel, confirmed: Model | None) -> Checkpoint:
    if checkpoint.is_checkpoint(load_tensors(path)):
        return checkpoint.load(path, confirmed)
    known = target.manifest
    if known is None or target.class_names is None:
        raise UserError(
            f"{path} is a bare state_dict, and no manifest beside {target.name} says of which network: pass .onnx files"
        )
    where = str(manifest.path_beside(target.path))
    recipe = parse(known.recipe, where)
    refuse_unconfirmed(recipe.model.name, confirmed, where)
    shape = tuple(size or 1 for size in target.contract.row_shape)
    return checkpoint.from_state_dict(path, recipe, target.class_names, shape, None)
