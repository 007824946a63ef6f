"""The verb that attacks a model, and what it knows: audit, attacks, defences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from edgepriv.api import arguments as given
from edgepriv.api.results import Attacks, Audited, Defences
from edgepriv.api.verb import verb
from edgepriv.errors import GateFailed
from edgepriv.recipe import Option, Recipe, changes_of


# One keyword for each option of the command line is the contract of the API, which is why there are so many, and long.
@verb
def audit(
    path: given.ModelFile,
    recipe: given.Settings = None,
    *,
    out: Annotated[
        given.PathLike | None,
        Option("JSON to write.", "Output", flags=given.OUT, default="MODEL.audit.json"),
    ] = None,
    model: given.OwnModel = None,
    members: given.Members = None,
    non_members: given.NonMembers = None,
    float_twin: Annotated[bool, Option("Audit the float twin too.", "Audit")] = True,
    cut_head: Annotated[
        bool, Option("Audit the file with its head removed, as anyone who holds it can.", "Audit")
    ] = False,
    accept_accuracy_loss: given.AcceptAccuracyLoss = False,
    trainer: given.Trainer = None,
    defence_free: given.DefenceFree = None,
    reference_models: given.ReferenceModels = None,
    reference_scores: given.ReferenceScores = None,
    loss_trace: given.LossTraceFile = None,
    input_shape: given.InputShape = None,
    also: Annotated[
        given.PathLike | Sequence[given.PathLike] | None,
        Option(
            "Another release of the same model: what an attacker learns who holds both (repeatable).",
            "Audit",
            default="none",
            repeatable=True,
        ),
    ] = None,
    fail_if: Annotated[
        str | Sequence[str] | None,
        Option(
            'Exit 3 if exceeded: "auc>0.55", "tpr@0.01>0.03", "precision@0.01>0.5" (with --prior), "canary_tpr@0.001>0.1", '
            '"robust_accuracy<0.6" (repeatable).',
            "Audit",
            default="no limit",
            repeatable=True,
        ),
    ] = None,
    baseline: Annotated[
        given.PathLike | None,
        Option(
            "MODEL.audit.json of an earlier version: exit 3 if this one is worse beyond noise.", "Audit", default="none"
        ),
    ] = None,
    show_records: Annotated[
        bool,
        Option("Show the most exposed records themselves: JSON and report are then as private as they are.", "Audit"),
    ] = False,
    context: Annotated[
        str | None,
        Option(
            "How the model is released, for the risk statement: to whom, as a file or a service.",
            "Audit",
            default="not stated",
        ),
    ] = None,
    run_by: Annotated[
        str | None, Option("Who ran the audit, for the risk statement.", "Audit", default="not stated")
    ] = None,
    sign_off: Annotated[
        str | None,
        Option('Who answers for the audit, "name, role"; signed over all its figures.', "Audit", default="nobody"),
    ] = None,
    data_dir: given.DataDir = None,
    cache_dir: Annotated[
        given.PathLike | None, Option("Where reference models are kept.", "Data", default="the data folder")
    ] = None,
    force: given.Force = False,
    progress: given.Progress = False,
    **options: Any,
) -> Audited:
    """Attack a deployed model: what it leaks about its training data, how perturbed inputs break it.

    Args:
        path: the .onnx that ships. The manifest beside it says what it was trained on; without one, ``members`` and
            ``non_members`` do, and reference models are those that you bring.
        recipe: settings of the audit, a Recipe or the TOML file of one; the options win over it.
        members: examples that the model was trained on: .npz, .csv or a folder.
        non_members: examples that it was not trained on, in the same form.
        out: JSON to write, beside it .html and .npz (every score).
        model: your own ``package.module:factory``, without which reference models of such a network are refused.
        float_twin: audit the float twin too.
        cut_head: audit what is left without the head.
        trainer: your own "mine.py:train", which makes the reference models: ``train(data, *, seed, device)`` returns a
            torch.nn.Module (or the path of an .onnx) that was trained on exactly ``data``, an ``edgepriv.data.TrainingData``.
        defence_free: the same training without your defence.
        reference_models: folder of reference models that exist; none are trained then.
        reference_scores: .npz of what reference models answer and what each was trained on; none are trained then.
        also: other releases of the model (float and 4 bits, or two versions), trained on the same members: an attacker who
            holds them as well combines what they tell.
        loss_trace: what ``train(trace_losses=True)`` wrote of this model's training; ranks members without reference models.
        input_shape: sizes of one example where the file leaves them open; the examples must have them.
        fail_if: limits, such as "auc>0.55".
        baseline: audit of an earlier version, on the same data; worse than that beyond noise fails.
        show_records: put the most exposed records into JSON and report, which are then as private as these.
        context: how the model is released.
        run_by: who ran the audit.
        sign_off: who answers for it, "name, role".
        data_dir: folder of named data sets.
        cache_dir: folder of reference models.
        accept_accuracy_loss: audit a model that has collapsed too.
        force: replace files that exist.
        progress: see ``edgepriv.api.arguments.Progress``.
        options: those of ``edgepriv audit``, by name.

    Returns:
        Every attack with its intervals, accuracy under perturbations, warnings.

    Raises:
        UserError: for bad input.
        GateFailed: after everything is written, when a limit is exceeded, or by the ``baseline``; ``audit`` is the result.

    Examples:
        >>> import edgepriv
        >>> audited = edgepriv.audit("out/model.onnx", attacks="quick", robust="quick", robust_examples=50, float_twin=False)
        >>> audited.file.name, audited.report.name, audited.attacks[0]["threat_model"]
        ('model.audit.json', 'model.audit.html', 'none')
    """
    from edgepriv import pipeline
    from edgepriv.report.declared import Declared

    changes, file = _settings_of_an_audit(recipe, options)
    limits = [fail_if] if isinstance(fail_if, str) else list(fail_if or ())
    where = Path(out) if out is not None else pipeline.audit_file(Path(path), cut_head)
    try:
        content = pipeline.audit(
            Path(path),
            changes,
            members=given.path(members),
            non_members=given.path(non_members),
            output=given.path(out),
            data_dir=given.path(data_dir),
            cache_dir=given.path(cache_dir),
            float_twin=float_twin,
            cut_head=cut_head,
            accept_accuracy_loss=accept_accuracy_loss,
            factory=model,
            trainer=trainer,
            defence_free=defence_free,
            reference_models=given.path(reference_models),
            reference_scores=given.path(reference_scores),
            loss_trace=given.path(loss_trace),
            also=given.paths(also),
            input_shape=given.input_shape(input_shape),
            limits=limits,
            baseline=given.path(baseline),
            show_records=show_records,
            declared=Declared(context, run_by, sign_off),
            force=force,
            recipe_file=file,
        )
    except GateFailed as failed:
        raise GateFailed(str(failed), Audited.of(failed.audit, file=where)) from None
    return Audited.of(content, file=where)


def _settings_of_an_audit(recipe: given.Settings, options: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """What a recipe says of an audit, under the options, and its file; how the model was trained is the manifest's to say."""
    settings, file = given.opened(recipe)
    asked = changes_of("audit", options)
    if settings is None:
        return asked, file
    settings = settings.with_changes(**asked)
    changes: dict[str, Any] = {
        "audit": settings.audit.model_dump(),
        "data": asked.get("data", {}),
        "device": settings.device,
    }
    if settings.adversary != Recipe().adversary:
        changes["adversary"] = {"eps": settings.adversary.eps, "norm": settings.adversary.norm}
    return changes, file


@verb
def attacks(*, progress: given.Progress = False) -> Attacks:
    """The membership attacks that an audit knows, and what each needs.

    Args:
        progress: see ``edgepriv.api.arguments.Progress``.

    Returns:
        One row for each attack, in the order of an audit.

    Examples:
        >>> import edgepriv
        >>> edgepriv.attacks().rows[0]["name"]
        'correctness'
    """
    from edgepriv import pipeline

    return Attacks.of(pipeline.attacks())


@verb
def defences(*, progress: given.Progress = False) -> Defences:
    """The defences that a recipe knows, how each is asked for, and which exclude each other.

    Args:
        progress: see ``edgepriv.api.arguments.Progress``.

    Returns:
        One row for each defence.

    Examples:
        >>> import edgepriv
        >>> [row["option"] for row in edgepriv.defences() if row["name"] == "dropout"]
        ['--baseline dropout']
    """
    from edgepriv import pipeline

    return Defences.of(pipeline.defences())
