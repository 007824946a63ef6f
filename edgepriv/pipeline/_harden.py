"""Harden a checkpoint and export it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgepriv import data, project
from edgepriv.accuracy import Standard
from edgepriv.artifact.activation_places import activation_places
from edgepriv.artifact.attached_head import save_head, transferred, with_head
from edgepriv.artifact.rehearse import rehearse
from edgepriv.artifact.release import export_with_twin
from edgepriv.audit.trainer import trainer_of
from edgepriv.errors import UserError
from edgepriv.extra_data import few_steps, with_extra
from edgepriv.extra_doubts import known_by_labels, remarks_on_labels
from edgepriv.files import refuse_existing, refuse_overwriting
from edgepriv.hardening_recipe import hardening_recipe, refuse_idle
from edgepriv.measure.kit import write_kit
from edgepriv.models import Checkpoint, Classifier, checkpoint
from edgepriv.models.scripts import Script
from edgepriv.models.starting import refuse_absent
from edgepriv.pipeline._given import files_named, go_on, is_batch_dependent, say_all
from edgepriv.pipeline._hardening_files import Paths
from edgepriv.pipeline._public import refuse_members_of_public
from edgepriv.pipeline._robust import asked_of, robustness_of
from edgepriv.pipeline._start import start_path, with_start
from edgepriv.pipeline._twin import (
    as_audited,
    as_release,
    based_on,
    canaries_of,
    refuse_nothing_to_audit,
    with_canaries,
)
from edgepriv.project import beside
from edgepriv.recipe import FULL_WIDTH, MAX_DROP, Pipeline, Recipe, rounded_stages, unrounded_stages
from edgepriv.recipe.conflicts import refuse_ignored, refuse_impossible
from edgepriv.recipe.defences import anew
from edgepriv.training import run_stages
from edgepriv.training.device import device_of
from edgepriv.training.eps import probed, stated
from edgepriv.training.pipeline import named_in
from edgepriv.training.resume import remove_resume_state
from edgepriv.training.stages import TrainingRun
from edgepriv.training.starting import refuse_random_held
from edgepriv.training.upfront import refuse_idle_augmentation


# One argument for each option of `edgepriv harden`, by its name.
def harden(
    model: Path,
    recipe: Recipe | None,
    changes: dict[str, Any],
    output: Path,
    *,
    head: Path | None = None,
    trainer: str | None = None,
    audit_twin: bool = False,
    max_drop: float = MAX_DROP,
    accept_accuracy_loss: bool = False,
    robust: str | None = "none",
    robust_examples: int | None = None,
    data_dir: Path | None = None,
    download: bool = False,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Harden a checkpoint: retraining (noise, distillation), adversarial training, then quantization-aware fine-tuning.

    Writes model.onnx, model.pt, model.robust.pt (after the adversarial stage), model.head.pt (with a head in the graph),
    model.fp32.onnx (the twin that was not hardened), their manifests, and the device kit in device/.

    Args:
        model: a checkpoint, or a bare state_dict that ``recipe`` describes.
        recipe: what a bare state_dict is, or the settings of hardening, which must agree with the checkpoint; or None.
        changes: sections of the recipe by name, as ``Recipe.with_changes`` takes them; they win over ``recipe``.
        output: folder that everything is written into.
        head: file of a head that is taken instead of training one.
        trainer: the user's script, whose ``loader`` and ``loss`` the stages are trained with.
        audit_twin: harden the model with canaries, which is audited (model.canaries.onnx), and the one without, which ships
            (model.onnx).
        max_drop: points of accuracy that quantization may cost.
        accept_accuracy_loss: ship a file that has collapsed or lost more (see ``edgepriv.accuracy``) too, with a warning.
            Otherwise what was trained is kept for that.
        robust: attacks on the file that is written, see ``_robust.asked_of``.
        robust_examples: non-members that they are made on, as there.
        data_dir: folder of the data sets; None for the default one.
        download: fetch a torchvision data set that is not there.
        force: replace files that exist.
        recipe_file: where the recipe was read from.

    Returns:
        What the command prints as JSON.

    Raises:
        UserError: for bad input, and for a file that is not shipped.
    """
    standard = Standard(max_drop, accept_accuracy_loss)
    script = None if trainer is None else _script_of(trainer)
    paths = Paths(output)
    audited = Paths(output, "model.canaries") if audit_twin else None
    both = [paths] if audited is None else [audited, paths]
    every = [path for each in both for path in each.all]
    start = start_path(changes, recipe)
    changes = {name: section for name, section in changes.items() if name != "start"}
    refuse_overwriting(
        [model, head, recipe_file, start, None if script is None else script.file, *files_named(recipe, data_dir)],
        every,
    )
    # What an interrupted run has written is replaced by the run that goes on.
    force = force or any(file.exists() for each in both for file in (each.resume_file, each.resume_base))
    refuse_existing([path for each in both for path in each.written], force)
    device = changes.get("device") or (recipe.device if recipe is not None else "auto")
    device_of(device)  # one that is not there is refused before the data are read
    alone = is_batch_dependent(changes)
    asked, recipe, changes = _canaries_asked(recipe, changes)
    given = project.open_checkpoint(
        model, recipe, data_dir, download, accept=accept_accuracy_loss, batch_dependent=alone
    )
    refuse_overwriting([*files_named(given.checkpoint.recipe, data_dir), *data.canary_files(asked)], every)
    given = with_start(given, start, model)
    if given.checkpoint.elsewhere:  # of its own models edgepriv saw to it in their training
        own = given.checkpoint.recipe
        say_all(refuse_members_of_public(own, given.dataset, given.split, data_dir, hardens=True))
    hardened_by = _recipe_of(model, given, recipe, changes, device)
    refuse_overwriting(files_named(hardened_by, data_dir), every)
    report = asked_of(hardened_by, robust, robust_examples)
    if script is not None:
        hardened_by = hardened_by.with_changes(pipeline=_used_by(hardened_by, script).model_dump())
    canaries = asked or canaries_of(given.checkpoint, of_twin=audit_twin)
    wanted = [_Wanted(canaries, paths)]
    if audited is not None:
        refuse_nothing_to_audit(canaries)
        release = partial(as_release, audited=audited.onnx, canaries=canaries)
        wanted = [_Wanted(canaries, audited, partial(as_audited, ships=paths.onnx)), _Wanted(None, paths, release)]
    with project.each_note_once():
        bases = [based_on(model, given, each.canaries, data_dir, each.paths.resume_base, device) for each in wanted]
        done = [
            _hardened(base, with_canaries(hardened_by, each.canaries), each, script, head)
            for base, each in zip(bases, wanted, strict=True)
        ]
        *of_twin, last = [_exported(each, standard, force=force) for each in done]
        for each in both:  # a refused release keeps the training of its twin too
            for file in (each.resume_file, each.resume_robust, each.resume_float, each.resume_base):
                remove_resume_state(file)
    robustness = robustness_of(paths.onnx, done[-1].base, report, data_dir or data.default_data_dir())
    return last | {"robustness": robustness} | ({"audited": of_twin[0]} if of_twin else {})


def _canaries_asked(recipe: Recipe | None, changes: dict[str, Any]) -> tuple[str | None, Recipe | None, dict[str, Any]]:
    """The canaries that recipe or options name, and both without: to a checkpoint of others they would be a contradiction."""
    asked = (changes.get("data") or {}).get("canaries") or (recipe.data.canaries if recipe else None)
    left = {name: value for name, value in changes.items() if name != "data"}
    return asked, None if recipe is None else with_canaries(recipe, None), left


def _as_it_is(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint


@dataclass(frozen=True)
class _Wanted:
    """A model to harden: with which canaries, into which files, and what its record says of its twin once that is there."""

    canaries: str | None
    paths: Paths
    told: Callable[[Checkpoint], Checkpoint] = _as_it_is


@dataclass(frozen=True)
class _Hardened:
    """One that is trained and not exported yet. ``base``: the checkpoint that it was made from, with its data."""

    base: project.Trained
    checkpoint: Checkpoint
    run: TrainingRun
    wanted: _Wanted


def _hardened(
    base: project.Trained, hardened_by: Recipe, wanted: _Wanted, script: Script | None, head: Path | None
) -> _Hardened:
    hardened_by, dataset = with_extra(hardened_by, base.dataset, base.split)
    if not base.checkpoint.elsewhere:
        say_all(few_steps(hardened_by, dataset, base.split))
    notes, doubts = remarks_on_labels(hardened_by, dataset, base.split, base.checkpoint.classifier())
    say_all(notes)
    doubts += known_by_labels(hardened_by, dataset, base.split)
    base = replace(base, dataset=dataset, warnings=(*base.warnings, *doubts))
    given_head = transferred(head, hardened_by, base.dataset, base.split)
    stages = _stages(hardened_by)
    say_all(rehearse(base.checkpoint.with_recipe(hardened_by), stages, base.dataset, base.split, script))
    hardened, run = _trained(base, hardened_by, wanted.paths, script)
    return _Hardened(base, with_head(hardened, given_head, base.dataset, base.split), run, wanted)


def _exported(done: _Hardened, standard: Standard, *, force: bool) -> dict[str, Any]:
    """Export a hardened model and keep what belongs to it; what the command prints."""
    base, paths = done.base, done.wanted.paths
    hardened = done.wanted.told(done.checkpoint)
    before = _before_rounding(done)
    exported = export_with_twin(
        replace(base, checkpoint=hardened), base.checkpoint, paths.onnx, standard, go_on(hardened.recipe), before
    )
    _keep(hardened, exported, paths, force=force)
    return exported | {
        "said": project.data_notes(base.dataset, base.split),
        "checkpoint": str(paths.checkpoint),
        "head": hardened.defences.get("head"),
        "kit": str(paths.kit),
        "history": done.run.history,
        "defences": hardened.defences,
    }


def _recipe_of(
    model: Path, given: project.Trained, recipe: Recipe | None, changes: dict[str, Any], device: str
) -> Recipe:
    """What the checkpoint ``given`` is hardened by, complete; what cannot be run, or asks for nothing, is refused."""
    trained_by = given.checkpoint.recipe
    if set(given.checkpoint.stages) - {"train"}:
        raise UserError(
            f"{model} has been hardened already (stages {', '.join(given.checkpoint.stages)}): "
            "harden the checkpoint that it was made from, or export this one"
        )
    asked_for = hardening_recipe(trained_by, recipe, changes, model)
    asked_for = asked_for.with_changes(device=device, start={"path": trained_by.start.path})
    if trained_by.dp.active and not asked_for.stages().keys() - {"train"}:
        project.say(
            "note: without --dp-total-epsilon a private model is not trained further: it is exported without adversarial "
            "training and without fine-tuning"
        )
    hardened_by = project.resolved(asked_for, given.dataset)
    for name in anew(hardened_by):
        refuse_absent(hardened_by.start)
        refuse_random_held(hardened_by, name, given.dataset.num_classes, given.dataset.input_shape)
    refuse_idle(hardened_by, trained_by, changes)
    if hardened_by.head.method == "rank" and hardened_by.export.output == "label":
        project.warn(
            "--regenerate rank never changes the label, and a file of --returns label says no more: it hides nothing"
        )
    refuse_impossible(hardened_by)
    refuse_ignored(hardened_by, changes)
    new = [each for each in _stages(hardened_by) if getattr(hardened_by, each).augment != trained_by.train.augment]
    refuse_idle_augmentation(hardened_by, new, given.dataset.input_shape)
    project.refuse_bytes(hardened_by, given.dataset)
    if stated(changes, recipe, trained_by, given.dataset.input_shape):
        return hardened_by
    asked = bool((changes.get("adversary") or {}).get("method"))
    probing = given.checkpoint.classifier()
    hardened_by, chosen = probed(hardened_by, _stages(hardened_by), given.dataset, given.split, probing, asked=asked)
    if chosen:
        project.say(chosen)
    return hardened_by


def _stages(hardened_by: Recipe) -> tuple[str, ...]:
    return tuple(name for name in hardened_by.stages() if name != "train")


def _script_of(trainer: str) -> Script:
    script = trainer_of("--trainer", trainer).script
    if script.handler:
        raise UserError(
            f"--trainer {trainer}: a handler trains whole networks by itself; to harden with its pipeline, name a script that "
            "defines loader(data, *, seed) or loss(data) beside train"
        )
    return script


def _used_by(hardened_by: Recipe, script: Script) -> Pipeline:
    """The script's pipeline, which some stage must use."""
    if not _stages(hardened_by):
        raise UserError(
            f"no stage trains here, so there is nothing that {script.title} could feed: leave out --trainer"
        )
    return named_in(script)


def _trained(
    given: project.Trained, hardened_by: Recipe, paths: Paths, script: Script | None
) -> tuple[Checkpoint, TrainingRun]:
    """The checkpoint after every stage; those after the adversarial stage, and before weights are rounded, are kept aside."""
    stages = _stages(hardened_by)
    unrounded = unrounded_stages(hardened_by, stages)
    classifier = given.checkpoint.with_recipe(hardened_by).classifier()

    def after(run: TrainingRun, classifier: Classifier, done: tuple[str, ...], recipe: Recipe) -> Checkpoint:
        return given.checkpoint.with_recipe(recipe).with_weights(
            classifier,
            stages=given.checkpoint.stages + done,
            history=given.checkpoint.history + tuple(run.history),
            defences=given.checkpoint.defences | run.defences,
        )

    def keep_aside(stage: str, classifier: Classifier, so_far: TrainingRun) -> None:
        files = [paths.resume_robust] if stage == "robust" else []
        files += [paths.resume_float] if unrounded[-1:] == (stage,) and unrounded != stages else []
        if files:
            unquantized = hardened_by.quantize.model_copy(update={"bits": FULL_WIDTH, "last_k": None})
            without_qat = hardened_by.with_changes(qat={"epochs": 0}).model_copy(update={"quantize": unquantized})
            done = stages[: stages.index(stage) + 1]
            for file in files:
                checkpoint.save(file, after(so_far, classifier, done, without_qat))

    run = run_stages(
        classifier,
        hardened_by,
        stages,
        given.dataset,
        given.split,
        resume_file=paths.resume_file,
        script=script,
        places=activation_places,
        after_stage=keep_aside,
    )
    return after(run, classifier, stages, hardened_by), run


def _before_rounding(done: _Hardened) -> Checkpoint | None:
    """The weights that the first stage began with that rounds; None where none does, or where those were rounded already."""
    hardened_by, base, paths = done.checkpoint.recipe, done.base.checkpoint, done.wanted.paths
    stages = _stages(hardened_by)
    unrounded = unrounded_stages(hardened_by, stages)
    if unrounded == stages:
        return None
    if unrounded:
        return checkpoint.load(paths.resume_float, base.recipe.model)
    return None if rounded_stages(base.recipe, base.stages) else base


def _keep(hardened: Checkpoint, exported: dict[str, Any], paths: Paths, *, force: bool) -> None:
    """Checkpoints, head and kit take their names after the proofs: never a new checkpoint beside an old file."""
    if "robust" in hardened.stages and paths.resume_robust.exists():
        paths.resume_robust.replace(paths.robust)
    checkpoint.save(paths.checkpoint, hardened)
    save_head(paths.head, hardened.head)
    if paths.name == "model":
        also = [beside(paths.onnx, "ort")] if exported.get("ort") else []
        span = hardened.recipe.data.range
        deep = span if span is not None and span[1] > 255 else None  # a smaller one is that of bytes, or the network's
        write_kit(paths.onnx, paths.kit, also=also, picture_range=deep, force=force)
