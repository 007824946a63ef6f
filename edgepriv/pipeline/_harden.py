"""Harden a checkpoint and export it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepriv import data, project
from edgepriv.accuracy import Standard
from edgepriv.artifact.attached_head import save_head, transferred, with_head
from edgepriv.artifact.rehearse import rehearse
from edgepriv.artifact.release import export_with_twin, written_by_export
from edgepriv.errors import UserError
from edgepriv.files import refuse_existing, refuse_overwriting
from edgepriv.hardening_recipe import hardening_recipe, refuse_idle
from edgepriv.measure.kit import kit_paths, write_kit
from edgepriv.models import Checkpoint, Classifier, checkpoint
from edgepriv.pipeline._given import GO_ON, files_named, is_batch_dependent, say_all
from edgepriv.project import beside
from edgepriv.recipe import FULL_WIDTH, MAX_DROP, Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.training import run_stages
from edgepriv.training.device import device_of
from edgepriv.training.eps import probed, stated
from edgepriv.training.resume import remove_resume_state
from edgepriv.training.stages import TrainingRun


def harden(
    model: Path,
    recipe: Recipe | None,
    changes: dict[str, Any],
    output: Path,
    *,
    head: Path | None = None,
    max_drop: float = MAX_DROP,
    accept_accuracy_loss: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Retraining on noisy members if asked, adversarial training, then quantization-aware fine-tuning of the checkpoint
    ``model``; export and kit into ``output``.

    ``recipe`` describes a bare state_dict, or brings the settings of hardening (it must agree with the checkpoint);
    ``changes`` are the options that win over it. Writes model.onnx, model.pt, model.robust.pt (after the adversarial
    stage), model.head.pt (with a head in the graph; ``head`` takes the one in such a file instead of training one),
    model.fp32.onnx (the twin that was not hardened), their manifests, and the device kit in device/. A file that has
    collapsed, or lost more than ``max_drop`` points by quantization (see ``edgepriv.accuracy``), is not shipped unless
    ``accept_accuracy_loss`` says so; what was trained is kept for that.
    """
    standard = Standard(max_drop, accept_accuracy_loss)
    onnx_path = output / "model.onnx"
    robust = beside(onnx_path, "robust.pt")
    resume_file, kept_robust = beside(onnx_path, "partial"), beside(onnx_path, "robust.partial")
    force = force or resume_file.exists()  # what an interrupted run has written is replaced by the run that goes on
    head_file = beside(onnx_path, "head.pt")
    own = [beside(onnx_path, "pt"), robust, head_file]
    written = [*written_by_export(onnx_path), *own, *kit_paths(output / "device")]
    read = [model, head, recipe_file, *files_named(recipe, data_dir)]
    refuse_overwriting(read, [*written, resume_file, kept_robust])
    refuse_existing(written, force)
    alone = is_batch_dependent(changes)
    device = changes.get("device") or (recipe.device if recipe is not None else "auto")
    device_of(device)  # one that is not there is refused before the data are read
    given = project.open_checkpoint(
        model, recipe, data_dir, download, accept=accept_accuracy_loss, batch_dependent=alone
    )
    refuse_overwriting(data.files_of(given.dataset.name, data_dir), [*written, resume_file, kept_robust])
    if set(given.checkpoint.stages) - {"train"}:
        raise UserError(
            f"{model} has been hardened already (stages {', '.join(given.checkpoint.stages)}): "
            "harden the checkpoint that it was made from, or export this one"
        )
    asked_for = hardening_recipe(given.checkpoint.recipe, recipe, changes, model)
    hardened_by = project.resolved(asked_for.with_changes(device=device), given.dataset)
    stages = tuple(name for name in hardened_by.stages() if name != "train")
    refuse_idle(hardened_by, given.checkpoint.recipe, changes)
    refuse_impossible(hardened_by)
    if not stated(changes, recipe, given.checkpoint.recipe, given.dataset.input_shape):
        asked = bool((changes.get("adversary") or {}).get("method"))
        hardened_by, chosen = probed(
            hardened_by, stages, given.dataset, given.split, given.checkpoint.classifier(), asked=asked
        )
        if chosen:
            project.say(chosen)
    given_head = transferred(head, hardened_by, given.dataset, given.split)
    say_all(rehearse(given.checkpoint.with_recipe(hardened_by), stages, given.dataset, given.split))
    classifier = given.checkpoint.with_recipe(hardened_by).classifier()

    def after(training_run: TrainingRun, classifier: Classifier, done: tuple[str, ...], recipe: Recipe) -> Checkpoint:
        return given.checkpoint.with_recipe(recipe).with_weights(
            classifier,
            stages=given.checkpoint.stages + done,
            history=given.checkpoint.history + tuple(training_run.history),
            defences=given.checkpoint.defences | training_run.defences,
        )

    def keep_robust(stage: str, classifier: Classifier, so_far: TrainingRun) -> None:
        if stage == "robust":
            unquantized = hardened_by.quantize.model_copy(update={"bits": FULL_WIDTH, "last_k": None})
            without_qat = hardened_by.with_changes(qat={"epochs": 0}).model_copy(update={"quantize": unquantized})
            done = stages[: stages.index(stage) + 1]
            checkpoint.save(kept_robust, after(so_far, classifier, done, without_qat))

    training_run = run_stages(
        classifier, hardened_by, stages, given.dataset, given.split, resume_file=resume_file, after_stage=keep_robust
    )
    hardened = after(training_run, classifier, stages, hardened_by)
    hardened = with_head(hardened, given_head, given.dataset, given.split)
    trained = replace(given, checkpoint=hardened)
    exported = export_with_twin(trained, given.checkpoint, onnx_path, standard, GO_ON)
    if "robust" in stages and kept_robust.exists():
        kept_robust.replace(robust)
    checkpoint.save(beside(onnx_path, "pt"), hardened)  # after the proofs: never a new checkpoint beside an old file
    save_head(head_file, hardened.head)
    write_kit(onnx_path, output / "device", also=[beside(onnx_path, "ort")] if exported.get("ort") else [], force=force)
    remove_resume_state(resume_file)
    remove_resume_state(kept_robust)
    return exported | {
        "said": project.data_notes(given.dataset, given.split),
        "checkpoint": str(beside(onnx_path, "pt")),
        "head": hardened.defences.get("head"),
        "kit": str(output / "device"),
        "history": training_run.history,
        "defences": hardened.defences,
    }
