"""All that may refuse a network, before hours of training: it is asked, trained for a step of each stage, exported and run.

Everything is done to copies, with the generators as they were afterwards.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch

from edgepriv.artifact.activation_places import activation_places
from edgepriv.artifact.build import Built, build_graph
from edgepriv.artifact.calibration import TrainedRanges
from edgepriv.artifact.computing import FLOAT, STATIC, Calibration, choices_of
from edgepriv.artifact.export import prove_runs, with_float_activations
from edgepriv.artifact.head import bytes_of, without_head
from edgepriv.artifact.integers import integers_of
from edgepriv.artifact.ort_format import to_ort
from edgepriv.artifact.parity import prove_parity
from edgepriv.artifact.session import open_session, predict
from edgepriv.artifact.small import fitted
from edgepriv.artifact.trace import trace
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.heads.masks import IN_GRAPH
from edgepriv.heads.masks import build as build_mask
from edgepriv.models import Checkpoint, Classifier
from edgepriv.models.behaviour import cause_of, refuse_mixing_in_training, refuse_unsteady
from edgepriv.models.rounded_activations import exact_activations, seen_ranges
from edgepriv.models.scripts import Script
from edgepriv.recipe import FULL_WIDTH, Export
from edgepriv.recipe.defences import DEFENCES
from edgepriv.recipe.defences.private_training import PRIVATE_TRAINING
from edgepriv.training import new_classifier
from edgepriv.training.examples import Examples
from edgepriv.training.held import holding
from edgepriv.training.loop import fit
from edgepriv.training.pipeline import Pipeline
from edgepriv.training.ranges import refuse_nobody, rounding, watched_of
from edgepriv.training.retraining import given_to, retraining_in
from edgepriv.training.stages import examples_of
from edgepriv.training.task import Task, task_of
from edgepriv.training.upfront import own_pipeline, refuse_unfit_objectives, refuse_unmatched_layers

FEW = 8
"""Real examples that a network is tried on."""


def rehearse(
    checkpoint: Checkpoint, stages: Sequence[str], dataset: Dataset, split: Split, script: Script | None = None
) -> list[str]:
    """Raise beforehand the UserError that running ``stages`` and exporting the outcome would end with.

    Tried are whether the network gives one answer to one input; a step of each stage; the graph at full and at the recipe's
    width in the forms that it asks for, opened by onnxruntime and compared with torch on a few inputs.

    Args:
        checkpoint: with the recipe.
        stages: names of those that are to run, in order.
        dataset: to train on.
        split: of it.
        script: as for ``run_stages``.

    Returns:
        What there is to say of the network beforehand, in sentences.
    """
    with torch.random.fork_rng(devices=[]):
        few = examples_of(dataset, split.members[:FEW])
        classifier = checkpoint.classifier()
        unsteady = refuse_unsteady(classifier, few_inputs(dataset, split))
        refuse_unmatched_layers(classifier.network, checkpoint.recipe, stages)
        refuse_unfit_objectives(classifier, checkpoint.recipe, stages, dataset, split)
        pipeline = own_pipeline(script, classifier, checkpoint.recipe, stages, dataset, split)
        if pipeline is not None:
            pipeline = replace(pipeline, loader=None)  # whose batches have been seen, and are many
        for name in stages:
            _try_stage(checkpoint, name, few, dataset, split, None if name == "train" else pipeline)
        calibrated = len(split.holdout) + len(split.validation) > 0
        _try_export(checkpoint, classifier, few_inputs(dataset, split).numpy(), calibrated)
    return [*classifier.notes, *([unsteady] if unsteady else [])]


def few_inputs(dataset: Dataset, split: Split) -> torch.Tensor:
    """A few members.

    Args:
        dataset: the examples.
        split: who is a member.

    Returns:
        float32 [n, ...] in [0, 1].
    """
    return torch.from_numpy(dataset.inputs(split.members[:FEW]))


def _try_stage(
    checkpoint: Checkpoint, name: str, few: Examples, dataset: Dataset, split: Split, pipeline: Pipeline | None
) -> None:
    recipe = checkpoint.recipe
    # In the stage ``train`` weights that the network computes are trained as they are.
    fresh = name == "train" and not (recipe.train.quantized and recipe.quantize.active)
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape) if fresh else checkpoint.classifier()
    try:
        retraining = retraining_in(recipe, name, dataset)
        if retraining is not None and retraining.retrained is not None and DEFENCES[retraining.name].stage == name:
            holdout = examples_of(dataset, split.holdout[:FEW])
            given = given_to(classifier, few, holdout, dataset, split.members[:FEW])
            given = replace(given, public=None if given.public is None else given.public[:FEW])
            few, _ = retraining.retrained(given)
        task = _shortened(task_of(classifier.network, recipe, name, dataset.input_shape, brief=True))
        task = replace(task, pipeline=pipeline)
        if task.activations is not None:
            watched = refuse_nobody(watched_of(dataset, split))
            task = rounding(task, classifier, recipe, activation_places, watched)
        with holding(classifier, task.stage):
            if PRIVATE_TRAINING.acts_in(recipe, name):
                refuse_mixing_in_training(classifier.train(), few_inputs(dataset, split))
            fit(classifier, few, task, seed=recipe.seed, holdout=examples_of(dataset, split.holdout[:FEW]))
        if task.activations is not None:
            _try_rounding(checkpoint, classifier)
    except UserError:
        raise
    except Exception as error:  # whatever the network's own code and torch raise
        raise UserError(f"the stage {name!r} cannot train this network: {cause_of(error)}") from error


def _try_rounding(checkpoint: Checkpoint, classifier: Classifier) -> None:
    """Whether there is a file that rounds what was rounded, and computes on integers."""
    ranges = seen_ranges(classifier.network)
    assert ranges is not None
    weights = integers_of(checkpoint, classifier)
    with exact_activations(classifier.network):
        built = build_graph(
            classifier,
            weights,
            input_shape=checkpoint.input_shape,
            class_names=checkpoint.class_names,
            settings=Export(compute=STATIC),
            calibration=TrainedRanges(ranges, FEW),
        )
    prove_runs(built)


def _shortened(task: Task) -> Task:
    """The same task for one step of training, or as many as its objectives need to have done all that they do."""
    epochs = max((objective.epochs for objective in task.objectives), default=1)
    few = {"epochs": epochs, "batch_size": FEW, "select": "last", "patience": None}
    return replace(task, stage=task.stage.model_copy(update=few))


def _try_export(checkpoint: Checkpoint, classifier: Classifier, x: np.ndarray, calibrated: bool) -> None:
    traced = trace(classifier, checkpoint.input_shape)
    recipe = checkpoint.recipe
    io_options = {"input": recipe.export.input, "output": recipe.export.output}
    plain = recipe.with_changes(
        quantize={"bits": FULL_WIDTH},
        head={"method": "none"},
        export={**Export().model_dump(), **io_options},
    )
    plain = plain.model_copy(
        update={"quantize": plain.quantize.model_copy(update={"last_k": None, "first_last": None})}
    )
    for own in [plain, recipe] if recipe != plain else [plain]:
        _try_form(replace(checkpoint, recipe=own), classifier, traced, x, calibrated)


def _try_form(
    checkpoint: Checkpoint, classifier: Classifier, traced: ir.Model, x: np.ndarray, calibrated: bool
) -> None:
    settings, method = checkpoint.recipe.export, checkpoint.recipe.head.method
    weights = integers_of(checkpoint, classifier)
    head = build_mask(method, len(checkpoint.class_names)) if method in IN_GRAPH else None
    # The few inputs stand in for the holdout: what is built here is thrown away.
    choices = choices_of(settings, weights, Calibration(x, "rehearsal") if calibrated else None)

    def build(compute: str) -> Built:
        own = settings.model_copy(update={"compute": compute})
        return build_graph(
            classifier,
            weights,
            input_shape=checkpoint.input_shape,
            class_names=checkpoint.class_names,
            settings=own,
            head=head,
            traced=traced.clone(),
            calibration=x,
            lowering=fitted(own, weights)[0],
        )

    # Of several forms one that cannot be had is passed over by the export, too; float activations can always be had.
    built = build(choices[0])
    proven = built.content
    if head is not None or choices[0].startswith("int8"):
        rounded = choices[0].startswith("int8")
        bare = without_head(onnx.load_from_string((build(FLOAT) if choices[0] == STATIC else built).content))
        proven = with_float_activations(bare) if rounded and choices[0] != STATIC else bytes_of(bare)
    prove_parity(classifier, weights, open_session(proven), x)
    if proven != built.content:
        predict(open_session(built.content), x)
    prove_runs(built)
    if settings.ort:
        with tempfile.TemporaryDirectory(prefix="edgepriv-") as folder:
            model = Path(folder) / "model.onnx"
            model.write_bytes(built.content)
            to_ort(model, x, settings.profile)
