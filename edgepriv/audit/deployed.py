"""The audit of a model file by itself: what stands beside it says who was a member, or the user's files do."""

from pathlib import Path
from typing import Any

import numpy as np

from edgepriv import data, project
from edgepriv.artifact import describe, manifest, session, twin
from edgepriv.audit import assess
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.references import Fleet, train_fleet
from edgepriv.audit.run import Target, membership_part, robustness_part
from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.recipe import Recipe, parse

Audited = tuple[dict[str, Any], dict[str, np.ndarray]]
"""The content of ``model.audit.json``, and every attack's scores."""


def _target(path: Path) -> Target:
    opened = session.open_session(path)
    try:
        return Target(lambda x: session.predict(opened, x), twin.load_twin(path))
    except twin.Untwinnable as reason:
        return Target(lambda x: session.predict(opened, x), None, str(reason))


def audit_by_manifest(
    model: Path, changes: dict[str, Any], data_dir: Path | None, cache_dir: Path, float_twin: bool
) -> Audited:
    known = manifest.read_beside(model)
    if known is None:
        session.open_session(model)
        raise UserError(
            f"{model} has no {manifest.path_beside(model).name} beside it: pass --members A.npz --non-members B.npz"
        )
    manifest.verify(model, known)
    dataset, split = project.recorded_data(known.data, data_dir, str(model))
    recipe = parse(known.recipe, str(manifest.path_beside(model))).with_changes(**changes)
    attacks = assess.select(recipe.audit.attacks)
    needed = {need for name in attacks for need in ATTACKS[name].needs}
    count = recipe.audit.references if "references" in needed else 0
    recipes = {"adaptive": recipe, "oblivious": recipe.undefended()}

    def fleet(trained_by: Recipe, label: str) -> Fleet:
        return train_fleet(trained_by, dataset, split, count=count, cache_dir=cache_dir / "references", label=label)

    fleets: dict[str, Fleet] = {}
    if needed & {"references", "shadow"}:
        fleets = {name: fleet(recipes[name], name) for name in recipe.audit.threat_models}
    target = _target(model)
    content, scores = membership_part(
        target, dataset, split.members, split.non_members, fleets, attacks=attacks, seed=recipe.seed
    )
    content["robustness"] = robustness_part(target, dataset, split.non_members, recipe)
    twin_file = _unchanged_twin(model, known) if float_twin else None
    if twin_file is not None:
        twin_recipe = recipe.float_twin()
        twin_fleets = {"adaptive": fleet(twin_recipe, "float twin")} if fleets else {}
        undefended = _target(twin_file)
        content["float"], _ = membership_part(
            undefended, dataset, split.members, split.non_members, twin_fleets, attacks=attacks, seed=recipe.seed
        )
        content["float"]["robustness"] = robustness_part(undefended, dataset, split.non_members, recipe, "float twin")
    return _described(model, recipe, known.data, content, count), scores


def _unchanged_twin(model: Path, known: manifest.Manifest) -> Path | None:
    if known.float_twin is None:
        return None
    path = model.parent / known.float_twin["file"]
    return path if path.exists() and sha256_of(path) == known.float_twin["sha256"] else None


def audit_on_files(model: Path, members: Path, non_members: Path, changes: dict[str, Any]) -> Audited:
    known = manifest.read_beside(model)
    if known is not None:
        manifest.verify(model, known)
    target = _target(model)
    recipe = (parse(known.recipe, str(manifest.path_beside(model))) if known else Recipe()).with_changes(**changes)
    examples = data.from_member_files(members, non_members, _class_names(model))
    asked = np.arange(len(examples))
    inside, outside = np.split(asked, [examples.known_members or 0])
    attacks = assess.select(recipe.audit.attacks)
    content, scores = membership_part(target, examples, inside, outside, {}, attacks=attacks, seed=recipe.seed)
    content["robustness"] = robustness_part(target, examples, outside, project.resolved(recipe, examples))
    record = {"name": examples.name, "sha256": examples.sha256, "split": None}
    return _described(model, recipe, record, content, 0), scores


def _class_names(model: Path) -> tuple[str, ...]:
    """From the file's metadata, else numbers, as many as the model has outputs."""
    classes = session.check_contract(session.open_session(model)).classes
    return describe.class_names(model) or tuple(str(label) for label in range(classes))


def _described(
    model: Path, recipe: Recipe, record: dict[str, Any] | None, content: dict[str, Any], references: int
) -> dict[str, Any]:
    headline = content["attacks"][0]["threat_model"] if content["attacks"] else "none"
    return {
        "model": model.name,
        "sha256": sha256_of(model),
        "threat_model": headline,
        "references": references,
        "seed": recipe.seed,
        "data": record,
        "versions": manifest.versions(),
        **content,
    }
