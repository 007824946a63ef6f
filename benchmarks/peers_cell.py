"""One target and its reference models, trained once by edgepriv, for every tool of benchmarks/peers_audit.py."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rivals import Setting, setting

from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.references import Fleet, load_model, train_fleet
from edgepriv.audit.run import Target, membership_part
from edgepriv.data import Split
from edgepriv.files import folder_aside
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages

REFERENCE_ATTACKS = [a.name for a in ATTACKS.values() if "references" in a.needs and a.asks == "clean"]
"""Ours that read reference models and ask the target once about each candidate."""


@dataclass(frozen=True)
class Cell:
    given: Setting
    fleet: Fleet

    @property
    def population(self) -> np.ndarray:
        """Indices of examples that none of these models was trained on, except the shadow model."""
        return self.fleet.population_index


def trained(recipe: Recipe, references: int, cache: Path) -> Cell:
    """``recipe``: with the stage ``train`` alone. What is in ``cache`` already is read from there."""
    given = setting(recipe, references)
    fleet = train_fleet(recipe, given.dataset, given.split, count=references, cache_dir=cache, label="peers")
    return Cell(given, fleet)


def own_scores(cell: Cell) -> dict[str, np.ndarray]:
    """Of our attacks with reference models, on the candidates, members first."""
    given = cell.given

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return given.target(torch.from_numpy(x)).softmax(1).numpy()

    _, scores = membership_part(
        Target(predict, None, "not needed here"),
        given.dataset,
        given.split.members,
        given.split.non_members,
        {"adaptive": cell.fleet},
        attacks=REFERENCE_ATTACKS,
        recipe=given.recipe,
    )
    return {name: scores[f"adaptive/{name}"] for name in REFERENCE_ATTACKS if f"adaptive/{name}" in scores}


def hand_over(cell: Cell, folder: Path) -> Path:
    """Write what ``peers_given.read`` reads to a folder in ``folder`` that is named by its content, and return that one.

    Where it stands already nothing is written, so that what a peer has answered beside it still holds.
    """
    given, fleet = cell.given, cell.fleet
    if fleet.references is None:
        raise ValueError("there are no reference models to hand over")
    dataset, recipe = given.dataset, given.recipe
    rows = np.concatenate([given.candidates, cell.population])
    arrays = {"x": dataset.inputs(rows), "y": dataset.y[rows], "member": fleet.references.member}
    about = {
        "recipe": recipe.model_dump(mode="json"),
        "classes": dataset.num_classes,
        "members": len(given.split.members),
    }
    models = {f"reference-{r:04d}": load_model(path, recipe, dataset) for r, path in enumerate(fleet.models)}
    models["target"] = given.target
    place = folder / _digest(about, arrays, models)
    if not place.exists():
        with folder_aside(place) as aside:
            np.savez(aside / "data.npz", **arrays)
            (aside / "about.json").write_text(json.dumps(about))
            for name, model in {**models, "complement": _complement(given)}.items():
                torch.save({f"inner.{key}": tensor for key, tensor in model.state_dict().items()}, aside / f"{name}.pt")
            aside.rename(place)
    return place


def _digest(about: dict[str, Any], arrays: dict[str, np.ndarray], models: dict[str, Classifier]) -> str:
    made_of = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        made_of.update(np.ascontiguousarray(arrays[name]).tobytes())
    for name in sorted(models):
        for key, tensor in sorted(models[name].state_dict().items()):
            made_of.update(key.encode() + tensor.numpy().tobytes())
    return made_of.hexdigest()[:16]


def _complement(given: Setting) -> Classifier:
    """Trained by the same recipe, with a seed of its own, on the candidates that the target was not trained on."""
    seed = given.recipe.seed
    recipe = given.recipe.with_changes(seed=int(np.random.SeedSequence([seed, 11]).generate_state(1)[0]))
    model = new_classifier(recipe, given.dataset.num_classes, given.dataset.input_shape)
    split: Split = replace(given.split, members=given.split.non_members, non_members=given.split.members)
    run_stages(model, recipe, ("train",), given.dataset, split, quiet=True)
    return model.eval()
