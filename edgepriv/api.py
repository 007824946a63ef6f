"""The verbs as functions; each reads as the list of its stages. The command line only parses and prints.

All take paths and a Recipe, raise UserError on bad input, write files whole or not at all, and return what they wrote or
measured as plain dictionaries that are JSON.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data, progress, project
from edgepriv.accuracy import MAX_DROP, Standard
from edgepriv.artifact import describe, manifest, session
from edgepriv.artifact.accuracies import accuracy_of
from edgepriv.artifact.behind import save_head, transferred, with_head
from edgepriv.artifact.left_float import BY_RECIPE
from edgepriv.artifact.model_files import file_facts
from edgepriv.artifact.rehearse import few_inputs, rehearse
from edgepriv.artifact.ship import export_with_twin, written_by_export
from edgepriv.audit import gate
from edgepriv.audit.attacks import ATTACKS, NEEDS, TRAINED
from edgepriv.audit.deployed import audit_by_manifest, audit_on_files
from edgepriv.composition import refuse_impossible
from edgepriv.errors import GateFailed, UserError
from edgepriv.files import refuse_existing, refuse_overwriting, write_bytes, write_json, write_text
from edgepriv.hardening import hardening, refuse_idle
from edgepriv.measure.bench import bench as measure
from edgepriv.measure.devices import merged
from edgepriv.measure.kit import kit_paths, write_kit
from edgepriv.models import Checkpoint, Classifier, checkpoint
from edgepriv.models.behaviour import refuse_unsteady
from edgepriv.models.classifier import NAMED
from edgepriv.models.containers import tensors_in
from edgepriv.models.reading import is_of_tensors, load_tensors
from edgepriv.models.steps import is_step
from edgepriv.project import beside
from edgepriv.recipe import FULL_WIDTH, Bench, Model, Recipe
from edgepriv.report import html, tables
from edgepriv.report.reproduce import audit_command
from edgepriv.siblings import audit_beside, bench_in, has_stale_audit, imported_runs, unique_names, variants_of
from edgepriv.training import new_classifier, quantize_weights, run_stages
from edgepriv.training.course import Course
from edgepriv.training.eps import probed, refuse_guess, stated
from edgepriv.training.partial import forget

NOTHING_WRITTEN = (
    "Nothing was written: give the weights more bits (--bits, --first-last), fine-tune them (edgepriv harden), or pass "
    "--accept-accuracy-loss to ship it all the same"
)
GO_ON = (
    "Nothing was shipped, and what was trained is kept: the same command with --accept-accuracy-loss goes on from there; else "
    "change what broke it (a smaller --eps, more --bits or epochs, another learning rate)"
)


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

    A model that has collapsed (see ``edgepriv.accuracy``) is not written unless ``accept_accuracy_loss`` says so.
    ``recipe_file``, here and in the other verbs: where the recipe was read from; like every input it is never overwritten.
    """
    partial = beside(output, "partial")
    refuse_overwriting([*data.files_of(recipe.data.name, data_dir), recipe_file], [output, partial])
    refuse_existing([output], force)
    if recipe.train.epochs == 0:
        raise UserError("train.epochs is 0: there is nothing to train")
    refuse_impossible(recipe)
    dataset, split = project.split_of(recipe, data_dir, download)
    record = project.data_record(dataset, split, recipe.data)
    if recipe.adversary.eps is None:
        refuse_guess(recipe, ("train",), dataset, split)
    recipe = project.resolved(recipe, dataset)
    classifier = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    _say_changes(classifier)
    blank = Checkpoint({}, dataset.class_names, dataset.input_shape, recipe, record)
    if recipe.model.name not in NAMED:  # our own are known to train and to ship
        rehearse(blank.with_weights(classifier), ("train",), dataset, split)
    course = run_stages(classifier, recipe, ("train",), dataset, split, partial=partial)
    accuracy = accuracy_of(classifier, recipe, dataset, split, Standard(accept=accept_accuracy_loss), GO_ON)
    trained = blank.with_weights(classifier, stages=("train",), history=tuple(course.history), defences=course.defences)
    checkpoint.save(output, trained)
    forget(partial)
    return {
        "checkpoint": str(output),
        "recipe": recipe.model_dump(mode="json"),
        "split": split.record(),
        "said": project.data_said(dataset, split),
        "history": course.history,
        "defences": course.defences,
        "accuracy": accuracy,
        "normalisation": {"mean": classifier.mean.tolist(), "std": classifier.std.tolist()},
    }


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
    shipped = output / "model.onnx"
    robust = beside(shipped, "robust.pt")
    partial, kept_robust = beside(shipped, "partial"), beside(shipped, "robust.partial")
    force = force or partial.exists()  # what an interrupted run has written is replaced by the run that goes on
    head_file = beside(shipped, "head.pt")
    own = [beside(shipped, "pt"), robust, head_file]
    written = [*written_by_export(shipped), *own, *kit_paths(output / "device")]
    read = [model, head, recipe_file, *_files_named(recipe, data_dir)]
    refuse_overwriting(read, [*written, partial, kept_robust])
    refuse_existing(written, force)
    given = project.open_checkpoint(model, recipe, data_dir, download, accept=accept_accuracy_loss)
    refuse_overwriting(data.files_of(given.dataset.name, data_dir), [*written, partial, kept_robust])
    if set(given.checkpoint.stages) - {"train"}:
        raise UserError(
            f"{model} has been hardened already (stages {', '.join(given.checkpoint.stages)}): "
            "harden the checkpoint that it was made from, or export this one"
        )
    hardened_by = project.resolved(hardening(given.checkpoint.recipe, recipe, changes, model), given.dataset)
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
    rehearse(given.checkpoint.with_recipe(hardened_by), stages, given.dataset, given.split)
    classifier = given.checkpoint.with_recipe(hardened_by).classifier()
    _say_changes(classifier)

    def after(course: Course, classifier: Classifier, done: tuple[str, ...], recipe: Recipe) -> Checkpoint:
        return given.checkpoint.with_recipe(recipe).with_weights(
            classifier,
            stages=given.checkpoint.stages + done,
            history=given.checkpoint.history + tuple(course.history),
            defences=given.checkpoint.defences | course.defences,
        )

    def keep_robust(stage: str, classifier: Classifier, so_far: Course) -> None:
        if stage == "robust":
            unquantized = hardened_by.quantize.model_copy(update={"bits": FULL_WIDTH, "last_k": None})
            without_qat = hardened_by.with_changes(qat={"epochs": 0}).model_copy(update={"quantize": unquantized})
            done = stages[: stages.index(stage) + 1]
            checkpoint.save(kept_robust, after(so_far, classifier, done, without_qat))

    course = run_stages(
        classifier, hardened_by, stages, given.dataset, given.split, partial=partial, after_stage=keep_robust
    )
    hardened = after(course, classifier, stages, hardened_by)
    hardened = with_head(hardened, given_head, given.dataset, given.split)
    trained = replace(given, checkpoint=hardened)
    exported = export_with_twin(trained, given.checkpoint, shipped, standard, GO_ON)
    if "robust" in stages and kept_robust.exists():
        kept_robust.replace(robust)
    checkpoint.save(beside(shipped, "pt"), hardened)  # after the proofs: never a new checkpoint beside an old file
    save_head(head_file, hardened.head)
    write_kit(shipped, output / "device", also=[beside(shipped, "ort")] if exported.get("ort") else [], force=force)
    forget(partial)
    forget(kept_robust)
    return exported | {
        "said": project.data_said(given.dataset, given.split),
        "checkpoint": str(beside(shipped, "pt")),
        "head": hardened.defences.get("head"),
        "kit": str(output / "device"),
        "history": course.history,
        "defences": hardened.defences,
    }


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
    """Export a checkpoint, quantized as the options ask, with the proof of parity; its float twin goes beside it.

    ``max_drop``, ``accept_accuracy_loss``: as for ``harden``.
    """
    standard = Standard(max_drop, accept_accuracy_loss)
    if output.suffix != ".onnx":
        raise UserError(f"-o {output}: the name must end in .onnx")
    written = written_by_export(output)
    refuse_overwriting([model, recipe_file, *_files_named(recipe, data_dir)], written)
    refuse_existing(written, force)
    given = project.open_checkpoint(model, recipe, data_dir, download, accept=accept_accuracy_loss)
    refuse_overwriting(data.files_of(given.dataset.name, data_dir), written)
    asked = given.checkpoint.recipe.with_changes(**changes)
    refuse_impossible(asked)
    classifier = given.checkpoint.classifier()
    _say_changes(classifier)
    refuse_unsteady(classifier.network, classifier, few_inputs(given.dataset, given.split))
    trained = replace(given, checkpoint=given.checkpoint.with_recipe(asked))
    exported = export_with_twin(trained, given.checkpoint, output, standard, NOTHING_WRITTEN)
    return exported | {"said": project.data_said(given.dataset, given.split)}


def audit(
    model: Path,
    changes: dict[str, Any],
    *,
    members: Path | None = None,
    non_members: Path | None = None,
    output: Path | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    float_twin: bool = True,
    cut_head: bool = False,
    accept_accuracy_loss: bool = False,
    factory: str | None = None,
    limits: Sequence[str] = (),
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Attack the file ``model`` as deployed; write model.audit.json, .html and .npz (every score).

    With ``members`` and ``non_members`` it audits any ONNX classifier on these files, without reference models; else the
    manifest beside the model says what it was trained on, and reference models are trained by its recipe. ``cut_head``
    audits the file with its head removed, as whoever holds it can, and writes model.cut-head.audit.json. ``factory``: the
    user's own ``package.module:factory``, without which reference models of such a network are refused. A file that has
    collapsed (see ``edgepriv.accuracy``) is not audited unless ``accept_accuracy_loss`` says so. Raises GateFailed, after
    writing, when one of ``limits`` is exceeded.
    """
    output = _json_name(output) or beside(model, "cut-head.audit.json" if cut_head else "audit.json")
    written = [output, output.with_suffix(".html"), output.with_suffix(".npz")]
    cache = (cache_dir or data.default_data_dir()) / "references"
    beside_it = [manifest.path_beside(model), beside(model, "fp32.onnx")]
    refuse_overwriting([model, *beside_it, members, non_members, recipe_file, cache], written)
    reading = [name for name, value in (changes.get("data") or {}).items() if value is not None]
    if members is None and reading:
        option = "input-range" if reading[0] == "range" else reading[0].replace("_", "-")
        raise UserError(f"--{option} says how --members and --non-members are read: pass these too")
    known = manifest.read_beside(model) if members is None else None
    if known is not None and known.data is not None:
        refuse_overwriting(data.files_of(known.data["name"], data_dir), written)
    refuse_existing(written, force)
    gates = [gate.parse_limit(limit) for limit in limits]
    if (members is None) != (non_members is None):
        raise UserError("--members and --non-members go together: an audit compares the two")
    if members is not None and non_members is not None:
        content, scores = audit_on_files(
            model, members, non_members, changes, cut_head=cut_head, accept_accuracy_loss=accept_accuracy_loss
        )
    else:
        content, scores = audit_by_manifest(
            model,
            changes,
            data_dir,
            cache_dir or data.default_data_dir(),
            float_twin,
            accept_accuracy_loss=accept_accuracy_loss,
            cut_head=cut_head,
            confirmed=_named(factory),
        )
    content["limits"] = gate.judged(gates, content)
    archive = io.BytesIO()
    np.savez_compressed(archive, **scores)  # type: ignore[arg-type]
    write_bytes(written[2], archive.getvalue())
    write_json(written[0], content)
    write_report(model, content, written[1])
    sentences = gate.exceeded(gates, content)
    if sentences:
        raise GateFailed("; ".join(sentences), content)
    return content


def attacks() -> list[dict[str, Any]]:
    """Every membership attack by name, in the order of an audit: its paper, what it needs, how often it asks.

    ``needs``: words of ``edgepriv.audit.attacks.NEEDS``; ``trains``: whether for one of them the attacker trains models.
    ``queries``: questions to the target for each candidate, at most; ``reads``: "probabilities" or "label".
    """
    return [
        {
            "name": attack.name,
            "title": attack.title,
            "paper": attack.paper,
            "needs": [need for need in NEEDS if need in attack.needs],
            "trains": bool(attack.needs & TRAINED),
            "queries": attack.queries,
            "reads": attack.reads,
        }
        for attack in ATTACKS.values()
    ]


def bench(
    model: Path,
    recipe: Recipe,
    *,
    against: Sequence[Path] = (),
    imports: Sequence[Path] = (),
    output: Path | None = None,
    force: bool = False,
    recipe_file: Path | None = None,
) -> dict[str, Any]:
    """Measure ``model`` beside its float twin and ``against``, each in fresh processes; write model.bench.json.

    ``imports``: what the device kit's bench.py or bench.mjs printed elsewhere; it goes into ``devices``. They are added to
    the bench that exists of the same file, without measuring again; ``force`` and ``against`` measure anew.
    """
    output = _json_name(output) or beside(model, "bench.json")
    refuse_overwriting([model, *against, *imports, recipe_file], [output, beside(model, "audit.html")])
    content = bench_in(output, model) if imports and not against and not force else None
    if content is None:
        refuse_existing([output], force)
        variants = variants_of(model, against)
        for path in variants.values():
            session.open_session(path)
        files = {name: file_facts(path) for name, path in variants.items()}
        devices = imported_runs(model, files, imports)
        settings = recipe.bench
        measured = _measured(variants, settings, settings.batches, settings.threads)
        content = measured | {"model": model.name, "files": files}
    else:
        devices = imported_runs(model, content["files"], imports)
    if devices:
        content["devices"] = merged(content.get("devices", []), devices)
    write_json(output, content)
    audited = audit_beside(model)
    if audited is not None and output == beside(model, "bench.json"):
        write_report(model, audited, beside(model, "audit.html"))
    return content


def _measured(
    variants: dict[str, Path], settings: Bench, batches: Sequence[int], threads: Sequence[int]
) -> dict[str, Any]:
    with progress.shown("bench", unit="process", leave=False) as bar:
        return measure(
            variants,
            batches=batches,
            threads=threads,
            runs=settings.runs,
            rounds=settings.rounds,
            seconds=settings.seconds,
            progress=progress.follower(bar),
        )


def compare(models: Sequence[Path], recipe: Recipe) -> list[dict[str, Any]]:
    """One row for each model: size, latency, memory measured now, side by side; accuracy, robust accuracy and leakage from
    the audit beside it, if there is one of the same file; ``stale_audit``: there is one, of another."""
    if len({path.resolve() for path in models}) < 2:
        raise UserError("compare needs at least two different models")
    variants = dict(zip(unique_names(models), models, strict=True))
    for path in variants.values():
        session.open_session(path)
    measured = _measured(variants, recipe.bench, (1,), (1,))
    return [
        tables.compare_row(name, audit_beside(path), measured) | {"stale_audit": has_stale_audit(path)}
        for name, path in variants.items()
    ]


def show(path: Path, factory: str | None = None) -> dict[str, Any]:
    """What a model.onnx or model.pt is: weights by layer and bits, profile; recipe and data where they are known.
    ``factory``: the user's own ``package.module:factory``, without which a checkpoint of such a network is refused."""
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    if not is_of_tensors(path):
        known = manifest.read_beside(path)
        facts = describe.describe(path)
        if known is None:
            return facts
        left = {"left_float": _unasked(known.left_float), "notes": known.notes, "defences": known.defences}
        return facts | left | {"recipe": known.recipe, "data": known.data}
    content = load_tensors(path)
    if not checkpoint.is_checkpoint(content):
        return _bare(path, content)
    found = checkpoint.load(path, _named(factory))
    classifier = found.classifier()
    quantized = quantize_weights(classifier.network, found.recipe.quantize)
    layers = [
        {"name": name, "shape": list(value.shape), "bits": quantized[name].bits if name in quantized else FULL_WIDTH}
        for name, value in classifier.network.named_parameters()
        if not is_step(name)
    ]
    return {
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "stages": list(found.stages),
        "class_names": list(found.class_names),
        "input_shape": list(found.input_shape),
        "layers": layers,
        "defences": found.defences,
        "recipe": found.recipe.model_dump(mode="json"),
        "data": found.data,
    }


def _bare(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What a file of tensors from elsewhere tells of itself."""
    found = tensors_in(content)
    if not found.state:
        raise UserError(f"{path} holds no tensors under names: it is neither a checkpoint nor a state_dict")
    return {
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "kind": "a bare state_dict: harden and export take it with --model and --data, or --members and --non-members",
        "found": list(found.words),
        "tensors": len(found.state),
        "parameters": sum(value.numel() for value in found.state.values()),
        "layers": [
            {"name": name, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
            for name, value in found.state.items()
        ],
    }


def _unasked(left_float: dict[str, str]) -> dict[str, str]:
    """Without what the recipe leaves at 32 bits, which the layers tell."""
    return {name: reason for name, reason in left_float.items() if reason != BY_RECIPE}


def write_report(model: Path, audited: dict[str, Any] | None, output: Path) -> None:
    """The HTML page of whatever is known of ``model``: its audit, its bench, its layers."""
    known = manifest.read_beside(model)
    page = html.render(
        title=model.name,
        audit=audited,
        bench=bench_in(beside(model, "bench.json"), model),
        layers=describe.describe(model)["layers"],
        manifest=known.model_dump(mode="json") if known else None,
        command=audit_command(model.name, audited),
    )
    write_text(output, page)


def _say_changes(classifier: Classifier) -> None:
    for note in classifier.notes:
        project.say(note)


def _named(factory: str | None) -> Model | None:
    return None if factory is None else Model(name=factory)


def _files_named(recipe: Recipe | None, data_dir: Path | None) -> list[Path]:
    return data.files_of(recipe.data.name, data_dir) if recipe else []


def _json_name(output: Path | None) -> Path | None:
    """The name that was asked for; any other ending could be the model itself, or one of the files beside the JSON."""
    if output is not None and output.suffix != ".json":
        raise UserError(f"-o {output}: the name must end in .json")
    return output
