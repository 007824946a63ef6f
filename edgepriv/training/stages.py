"""A recipe's stages one after another, surviving a kill: train, then noisy or distilled, then robust, then qat."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgepriv import progress
from edgepriv.data import Dataset, Split
from edgepriv.data.groups import most_of_one
from edgepriv.models import Classifier
from edgepriv.models.bake import bake
from edgepriv.models.lsq_steps import load_state
from edgepriv.models.scripts import Script
from edgepriv.project import say, warn
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import DEFENCES
from edgepriv.recipe.defences.extra import EXTRA
from edgepriv.training.copies import copied_in_holdout
from edgepriv.training.examples import Examples
from edgepriv.training.extra import Extra, extra_labels, extra_of
from edgepriv.training.featured import behind_features, features_of, unchanged_inputs
from edgepriv.training.held import holding
from edgepriv.training.loop import Hooks, State, fit, steps_of
from edgepriv.training.objectives import Answers, Retraining
from edgepriv.training.pipeline import Pipeline
from edgepriv.training.quantization import refuse_unmatched
from edgepriv.training.quantizers import refuse_unfit
from edgepriv.training.ranges import Placing, refuse_nobody, rounding, watched_of
from edgepriv.training.resume import key_of, read_resume_state, write_resume_state
from edgepriv.training.retraining import given_to, retrained, retraining_in, with_sub_models
from edgepriv.training.starting import new_classifier, trained_tensors
from edgepriv.training.task import Task, task_of
from edgepriv.training.traces import LossTrace
from edgepriv.training.upfront import (
    own_pipeline,
    refuse_unfit_objectives,
    refuse_unmatched_layers,
    warn_of_slow_attack,
)
from edgepriv.training.watch import watch_of

_VALIDATION_EXAMPLES = 1024


@dataclass(frozen=True)
class TrainingRun:
    """What a run of stages leaves beside the weights. ``history``: one row for each epoch. ``defences``: what the defences
    measured as they ran, by name, as JSON; it goes into checkpoint and manifest."""

    history: list[dict[str, Any]]
    defences: dict[str, Any] = field(default_factory=dict)


def examples_of(dataset: Dataset, index: np.ndarray) -> Examples:
    """Examples of a data set as tensors.

    Args:
        dataset: the examples.
        index: int64 [n], their places.

    Returns:
        The examples.
    """
    return Examples(torch.from_numpy(dataset.x[index]), torch.from_numpy(dataset.y[index]))


def validation_rows(split: Split) -> np.ndarray:
    """The validation examples that choose an epoch, drawn because those of a folder or a table often stand class by class.

    Args:
        split: which has them.

    Returns:
        int64 [n], their places; n is 1,024 at most.
    """
    return np.random.default_rng(split.seed).permutation(split.validation)[:_VALIDATION_EXAMPLES]


@dataclass
class _Run:
    """A run of stages between two of them. ``members``: of the split, or as a stage that retrains has made them; ``teacher``:
    the weights by which it made them. ``rows``, ``defences``: as in ``TrainingRun``, so far. ``key``: says whose
    ``resume_file`` it is. ``pipeline``: of the stages after ``train``. ``extra_labels``: of extra data, once they are known.
    ``answers``: of sub-models, so far. ``remade``: whether ``members`` are no longer the split's."""

    classifier: Classifier
    recipe: Recipe
    dataset: Dataset
    split: Split
    members: Examples
    holdout: Examples
    validation: Examples
    key: str
    resume_file: Path | None
    quiet: bool
    rows: list[dict[str, Any]]
    defences: dict[str, Any]
    teacher: dict[str, torch.Tensor] | None
    pipeline: Pipeline | None
    extra_labels: torch.Tensor | None = None
    answers: Answers | None = None
    remade: bool = False
    trace: LossTrace | None = None
    places: Placing | None = None


# What is run on what, and how a kill is survived and who is told: one argument each.
def run_stages(
    classifier: Classifier,
    recipe: Recipe,
    stages: tuple[str, ...],
    dataset: Dataset,
    split: Split,
    *,
    resume_file: Path | None = None,
    quiet: bool = False,
    done_before: int = 0,
    script: Script | None = None,
    trace: LossTrace | None = None,
    places: Placing | None = None,
    after_stage: Callable[[str, Classifier, TrainingRun], None] = lambda stage, classifier, so_far: None,
) -> TrainingRun:
    """Run ``stages`` of ``recipe`` on the split's members, in place.

    Weights that the network computes from others are trained as such in the stage ``train``, unless it quantizes them, and
    are plain in every other one. A stage that retrains (``Objective.retrained``: ``noisy``, ``distilled``) takes the classifier
    as teacher and starts from new weights. It and every stage after it see the members as they were made for it only: one epoch
    on the split's would teach them again.

    Args:
        classifier: the network to train.
        recipe: settings of each stage.
        stages: their names, in the order in which they are run.
        dataset: the examples.
        split: who of them is a member, who is held out, who chooses the epoch.
        resume_file: where the run is kept, epoch by epoch, and at its end. A file there that was left by the same recipe, data
            and starting weights is resumed, any other is ignored. Remove it (``remove_resume_state``) once the result is safe
            elsewhere. None keeps nothing.
        quiet: show no progress and watch for no collapse.
        done_before: how many of the first stages the classifier's weights have behind them already, ``train`` at most.
        script: of the user's own batches and loss, where the recipe names one; they act in every stage but ``train``.
        trace: records the members' losses in the stage ``train``; epochs that ran before a kill are not in it.
        places: finds where activations are to be rounded; needed where the recipe rounds them.
        after_stage: called as each stage ends, with its name, the classifier and what has been run so far.

    Returns:
        What the stages leave beside the weights.

    Raises:
        UserError: for a stage that cannot work with this network or these data, and a training that diverges.
    """
    refuse_unfit(recipe.quantize)
    refuse_unmatched(classifier.network, recipe.quantize)
    refuse_unmatched_layers(classifier.network, recipe, stages)
    refuse_unfit_objectives(classifier, recipe, stages, dataset, split)
    pipeline = own_pipeline(script, classifier, recipe, stages, dataset, split)
    key = key_of(classifier, recipe, stages, dataset, split)
    done = read_resume_state(resume_file, key)
    if done["start"] is not None:
        load_state(classifier, done["start"])
    run = _Run(
        classifier,
        recipe,
        dataset,
        split,
        examples_of(dataset, split.members),
        examples_of(dataset, split.holdout),
        examples_of(dataset, validation_rows(split)),
        key,
        resume_file,
        quiet,
        done["rows"],
        done["defences"],
        done["teacher"],
        pipeline,
        done["extra_labels"],
        None if done["answers"] is None else Answers(**done["answers"]),
        trace=trace,
        places=places,
    )
    for position, name in list(enumerate(stages))[max(done["position"], done_before) :]:
        state = done["state"] if position == done["position"] else State()
        start = {entry: value.clone() for entry, value in classifier.state_dict().items()}
        _prepare(run, name, position, start)
        _train(run, name, position, start, state)
        after_stage(name, classifier, TrainingRun(list(run.rows), dict(run.defences)))
        _keep(run, position + 1, classifier.state_dict(), State())
    return TrainingRun(run.rows, run.defences)


def _prepare(run: _Run, name: str, position: int, start: dict[str, torch.Tensor]) -> None:
    """Members and weights as the stage ``name`` finds them. ``start``: the weights before it."""
    retraining = retraining_in(run.recipe, name, run.dataset)
    anew = retraining is not None and DEFENCES[retraining.name].stage == name
    if anew:
        run.teacher = start
    if retraining is not None and run.teacher is not None and not run.remade:
        material = partial(_material, run, str(DEFENCES[retraining.name].stage), position, start)
        made = retrained(retraining, run.teacher, run.recipe, run.dataset, material)
        run.members, run.defences[DEFENCES[retraining.name].facts] = made
        run.remade = True
    if anew:
        fresh = new_classifier(run.recipe, run.dataset.num_classes, run.dataset.input_shape)
        load_state(run.classifier, fresh.state_dict())
    if name != "train" or (run.recipe.train.quantized and run.recipe.quantize.active):
        bake(run.classifier.network)


def _material(run: _Run, stage: str, position: int, start: dict[str, torch.Tensor], teacher: Classifier) -> Retraining:
    """What the members of ``stage`` are made of, where sub-models survive a kill one by one."""

    def keep(answers: Answers) -> None:
        run.answers = answers
        _keep(run, position, start, State())

    given = given_to(teacher, run.members, run.holdout, run.dataset, run.split.members)
    given = replace(given, copied=partial(copied_in_holdout, run.dataset, run.split))
    given = with_sub_models(given, run.recipe, stage, run.dataset, run.validation, run.pipeline)
    return replace(given, quiet=run.quiet, so_far=run.answers, keep=keep)


def _train(run: _Run, name: str, position: int, start: dict[str, torch.Tensor], state: State) -> None:
    """Run one stage, from its ``state``; add its rows and what its defences measured."""
    classifier, members = run.classifier, run.members
    encoded, records = run.dataset.encoding is not None, most_of_one(run.dataset.groups, run.split.members)
    recipe, shape, classes = run.recipe, run.dataset.input_shape, run.dataset.num_classes
    brings = recipe.dp.active and bool(trained_tensors(recipe, classes, shape))
    task = task_of(classifier.network, recipe, name, shape, encoded=encoded, records=records, trained=brings)
    task = replace(task, pipeline=None if name == "train" else run.pipeline, extra=_extra_of(run, name, task))
    if task.activations is not None:
        watched = refuse_nobody(watched_of(run.dataset, run.split))
        task = rounding(task, classifier, run.recipe, run.places, watched)
    if not run.quiet and task.budget is not None and classifier.alone and state.epoch == 0:
        warn_of_slow_attack(classifier, members, task)
    batches_per_epoch = steps_of(len(members), task)
    shown = progress.shown(
        _title(name, task),
        unit="batch",
        total=task.stage.epochs * batches_per_epoch,
        done=state.epoch * batches_per_epoch,
        quiet=run.quiet,
    )
    with shown as bar, holding(classifier, task.stage) as held:
        if held.kept and not run.quiet:
            say(held.summary(name))
        trained, members, holdout, validation = _behind_features(run, task, members)
        history = fit(
            trained,
            members,
            task,
            seed=run.recipe.seed + position,
            holdout=holdout,
            validation=validation,
            state=state,
            hooks=Hooks(
                after_step=bar.update,
                watch=None if run.quiet else watch_of(task, validation, holdout),
                trace=run.trace if name == "train" else None,
                after_epoch=lambda state: _keep(run, position, start, state),
                progress=lambda row: _show(row, bar),
            ),
        )
    classifier.eval()
    run.rows += [{"stage": name} | row for row in history]
    for objective in task.objectives:
        if objective.facts is not None:
            run.defences[DEFENCES[objective.name].facts] = objective.facts(len(members), len(history))


def _behind_features(run: _Run, task: Task, members: Examples) -> tuple[Classifier, Examples, Examples, Examples]:
    """What is trained, and on which members, holdout and validation: the layers behind fixed features on features, where no
    input is changed."""
    read = any(each.name == "flattening" for each in task.objectives) or not len(run.validation)
    everything = members, run.holdout, run.validation
    if not unchanged_inputs(run.classifier, task, *everything):
        return run.classifier, *everything
    everything = members, run.holdout if read else Examples(run.holdout.x[:0], run.holdout.y[:0]), run.validation
    first, second, third = (features_of(run.classifier, own, quiet=run.quiet) for own in everything)
    return behind_features(run.classifier), first, second, third


def _extra_of(run: _Run, name: str, task: Task) -> Extra | None:
    """What takes a share of the batches of a stage. Where the model tells the labels, it is as before the first such stage."""
    if not EXTRA.acts_in(run.recipe, name):
        return None
    run.extra_labels = extra_labels(run.dataset, [run.classifier]) if run.extra_labels is None else run.extra_labels
    return extra_of(run.recipe, run.dataset, run.extra_labels).on(task.device)


def _keep(run: _Run, position: int, start: dict[str, torch.Tensor], state: State) -> None:
    """Write where the run stands: in the stage at ``position``, which began with the weights ``start``."""
    content = {
        "key": run.key,
        "position": position,
        "start": start,
        "teacher": run.teacher,
        "extra_labels": run.extra_labels,
        "answers": None if run.answers is None else vars(run.answers),
        "rows": run.rows,
        "defences": run.defences,
        "state": asdict(state),
    }
    write_resume_state(run.resume_file, content)


def _title(name: str, task: Task) -> str:
    parts = [each.title for each in task.objectives if each.title]
    return f"{name} ({', '.join(parts)})" if parts else name


def _show(row: dict[str, Any], bar: progress.Bar) -> None:
    bar.set_postfix(_postfix(row))
    if "warning" in row:
        warn(row["warning"])


def _postfix(row: dict[str, Any]) -> dict[str, str]:
    shown = {"epoch": "epoch", "loss": "loss", "accuracy": "acc"}
    shown |= {"validation_accuracy": "val", "validation_robust_accuracy": "robust"}
    return {short: f"{row[key]:.3g}" for key, short in shown.items() if key in row}
