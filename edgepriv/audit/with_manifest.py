"""The audit of a model whose manifest says who was a member and how to train reference models."""

from pathlib import Path
from typing import Any

from edgepriv import project
from edgepriv.artifact import manifest
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit import assess
from edgepriv.audit.alike import likeness, refuse_unlike, warnings_of
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.brought import (
    NOTHING_BROUGHT,
    Brought,
    existing_fleets,
    of_another_size,
    refuse_lost_defences,
    refuse_unlearned_fleets,
    refuse_untrained_fleets,
    refuse_unused,
)
from edgepriv.audit.columns import free_columns
from edgepriv.audit.described import Audited, described
from edgepriv.audit.dp_guarantee import compare_with_guarantee
from edgepriv.audit.examples import of_dataset
from edgepriv.audit.feeding import Told, told_of
from edgepriv.audit.references import Fleet, train_fleet
from edgepriv.audit.robust import refuse_radius, robustness_part
from edgepriv.audit.run import membership_part
from edgepriv.audit.shift import shift_part
from edgepriv.audit.target import open_target
from edgepriv.audit.upfront import up_front
from edgepriv.errors import UserError
from edgepriv.models.sources import is_own, refuse_unconfirmed
from edgepriv.recipe import FULL_WIDTH, Model, Recipe, parse
from edgepriv.recipe.defences import defences_of
from edgepriv.training.device import device_of


def audit_by_manifest(
    model: DeployedModel,
    changes: dict[str, Any],
    data_dir: Path | None,
    cache_dir: Path,
    float_twin: bool,
    *,
    accept_accuracy_loss: bool = False,
    cut_head: bool = False,
    confirmed: Model | None = None,
    brought: Brought = NOTHING_BROUGHT,
) -> Audited:
    """Audit a file with the data that its manifest names, with reference models trained by its recipe.

    Args:
        model: the opened file, with its manifest beside it.
        changes: sections of the recipe by name, as ``Recipe.with_changes`` takes them.
        data_dir: folder of the data sets; None for the default one.
        cache_dir: folder in which trained reference models are kept.
        float_twin: audit the float twin as well.
        accept_accuracy_loss: continue even if the model's accuracy has collapsed.
        cut_head: audit the file with its head removed, by attackers whose models have no head either.
        confirmed: the user's own module, which a manifest alone may not ask to import; reference models are networks of it.
        brought: the user's own reference models, used instead of trained ones.

    Returns:
        The content of model.audit.json, and the scores by "threat model/attack".

    Raises:
        UserError: where the manifest or its data are missing or have changed, and where reference models are unlike the target.
    """
    known = model.verified_manifest()
    if known is None:
        model.open_session()  # a file that is none is called so first
        raise UserError(
            f"{model.path} has no {manifest.path_beside(model.path).name} beside it: pass --members A.npz --non-members B.npz"
        )
    dataset, split = project.recorded_data(known.data, data_dir, str(model.path))
    trained_by = _trained_by(known, model)
    if cut_head:
        trained_by = trained_by.with_changes(head={"method": "none"})
    recipe = trained_by.with_changes(**changes)
    device_of(recipe.device)  # one that is not there is refused before anything is computed
    trained_by = trained_by.with_changes(device=recipe.device)
    attacks = assess.select(recipe.audit.attacks)
    refuse_unused(brought, attacks, recipe.audit, on_files=False)
    refuse_lost_defences(brought, trained_by, recipe.audit.threat_models)
    asked = model.cut_open() if cut_head else model
    told = told_of(recipe, accept_accuracy_loss)
    opened = open_target(asked, of_dataset(dataset), told)
    target = opened.target
    refuse_radius(target, dataset, recipe)
    free, left_alone = free_columns(dataset, recipe.audit.perturb, span=recipe.data.range)
    for line in [*opened.notes, *left_alone]:
        project.say(line)
    undefended = model.float_twin if float_twin else None
    accuracy = up_front(
        model,
        target,
        dataset,
        split.members,
        split.non_members,
        seed=split.seed,
        accept=accept_accuracy_loss,
        float_twin=undefended,
    )
    usable = [ATTACKS[name] for name in attacks if ATTACKS[name].reads == "label" or not target.labels_only]
    needed = {need for attack in usable for need in attack.needs}
    count = recipe.audit.references if "references" in needed else 0
    # Not ``recipe``: the perturbations that the audit is asked to measure say nothing about how the target was trained.
    recipes = {"adaptive": trained_by, "oblivious": trained_by.undefended()}

    trainers = {"oblivious": brought.defence_free or brought.trainer}

    def fleet(trained_by: Recipe, label: str) -> Fleet:
        return train_fleet(
            trained_by,
            dataset,
            split,
            count=count,
            cache_dir=cache_dir / "references",
            label=label,
            engine=recipe.audit.engine,
            trainer=trainers.get(label, brought.trainer),
        )

    fleets: dict[str, Fleet] = {}
    on_references: list[str] = []
    notes: list[str] = []
    if brought.exists:
        fleets, on_references, notes = existing_fleets(
            brought, opened.examples, target, split, told, seed=recipe.seed, threat_models=recipe.audit.threat_models
        )
        count = len(next(iter(fleets.values())).right)
        for line in notes:
            project.say(line)
    elif needed & {"references", "shadow"}:
        refuse_unconfirmed(trained_by.model.name, confirmed, str(manifest.path_beside(model.path)))
        # The plainest first: what follows goes on from it where it can.
        trained = {name: fleet(recipes[name], name) for name in sorted(recipe.audit.threat_models, reverse=True)}
        fleets = {name: trained[name] for name in recipe.audit.threat_models}
    refuse_untrained_fleets(brought, fleets, target, dataset, split)
    alike = {name: likeness(target, dataset, split, fleet) for name, fleet in fleets.items()}
    # Models of an attacker who does not know the defence are expected to differ from the target.
    assumed, expected = bool(fleets) and not brought.anything and "train" not in known.stages, alike.get("adaptive")
    if not recipe.audit.accept_weak_references:
        if brought.anything:
            refuse_unlearned_fleets(brought, fleets, target, dataset, split)
        refuse_unlike(expected, assumed, brought.who)
    content, scores = membership_part(
        target,
        dataset,
        split.members,
        split.non_members,
        fleets,
        attacks=attacks,
        recipe=recipe,
        pool=split.reference,
    )
    content["likeness"] = alike
    content["shift"] = shift_part(dataset, split.members, split.non_members, recipe.seed)
    content["robustness"] = robustness_part(
        target, dataset, split.non_members, recipe, free=free, cache_dir=cache_dir / "robustness"
    )
    content["said"] = [*project.data_notes(dataset, split), *opened.notes, *left_alone, *notes]
    if undefended is None:
        content["no_float_twin"] = _why_no_twin(known, float_twin)
    if undefended is not None:
        twin_known = undefended.manifest
        twin_recipe = _trained_by(twin_known, undefended) if twin_known else trained_by.as_run(["train"])
        twin_recipe = twin_recipe.with_changes(quantize={"bits": FULL_WIDTH}, device=recipe.device)
        twin_fleets = {"adaptive": fleet(twin_recipe, "float twin")} if fleets and not brought.exists else {}
        told = Told(batch_dependent=recipe.audit.batch_dependent)
        twin_target = open_target(undefended, of_dataset(dataset), told).target
        content["float"], _ = membership_part(
            twin_target,
            dataset,
            split.members,
            split.non_members,
            twin_fleets,
            attacks=attacks,
            recipe=recipe,
            pool=split.reference,
        )
        content["float"]["robustness"] = robustness_part(
            twin_target, dataset, split.non_members, recipe, "robustness of the float twin",
            free=free, cache_dir=cache_dir / "robustness",
        )  # fmt: skip
    content["defended_by"] = defences_of(trained_by)
    if "dp" in known.defences:
        content["dp"] = compare_with_guarantee(known.defences["dp"], content["attacks"], scores, recipe.seed)
    audited = described(model, asked, recipe, known.data, content, count) | {"accuracy": accuracy}
    audited["warnings"] += [*accuracy["warnings"], *warnings_of(expected, assumed), *on_references, *opened.warnings]
    if fleets and not brought.exists and is_own(trained_by.model.name):
        audited["settings"]["factory"] = trained_by.model.name
    if fleets and count:
        records = next(iter(fleets.values())).records
        audited["reference_records"] = records
        audited["warnings"] += of_another_size(records, len(split.members), brought)
    if brought.anything:
        audited["settings"]["brought"] = brought.options()
    return audited, scores


def _why_no_twin(known: manifest.Manifest, asked: bool) -> str:
    if not asked:
        return "--no-float-twin"
    if known.float_twin is None:
        return "the file was exported without one, as it is the float model itself"
    return f"{known.float_twin['file']} is no longer beside it as it was exported"


def _trained_by(known: manifest.Manifest, model: DeployedModel) -> Recipe:
    """The recipe of the stages that have run, which is what an adaptive attacker follows."""
    recipe = parse(known.recipe, str(manifest.path_beside(model.path)))
    return recipe.as_run(known.stages) if known.stages else recipe
