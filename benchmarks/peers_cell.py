"""One target and its reference models, trained once by edgepriv, for every tool of benchmarks/peers_audit.py."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rivals import Setting, setting

from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.references import Fleet, load_model, train_fleet
from edgepriv.audit.run import Target, membership_part
from edgepriv.data import Split
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


def hand_over(cell: Cell, folder: Path) -> None:
    """Write what ``peers_given.read`` reads."""
    given, fleet = cell.given, cell.fleet
    if fleet.references is None:
        raise ValueError("there are no reference models to hand over")
    folder.mkdir(parents=True)
    dataset, recipe = given.dataset, given.recipe
    rows = np.concatenate([given.candidates, cell.population])
    np.savez(folder / "data.npz", x=dataset.inputs(rows), y=dataset.y[rows], member=fleet.references.member)
    about = {
        "recipe": recipe.model_dump(mode="json"),
        "classes": dataset.num_classes,
        "members": len(given.split.members),
    }
    (folder / "about.json").write_text(json.dumps(about))
    _save(given.target, folder / "target.pt")
    _save(_complement(given), folder / "complement.pt")
    for r, path in enumerate(fleet.models):
        _save(load_model(path, recipe, dataset), folder / f"reference-{r:04d}.pt")


def _complement(given: Setting) -> Classifier:
    """Trained by the same recipe, with a seed of its own, on the candidates that the target was not trained on."""
    seed = given.recipe.seed
    recipe = given.recipe.with_changes(seed=int(np.random.SeedSequence([seed, 11]).generate_state(1)[0]))
    model = new_classifier(recipe, given.dataset.num_classes, given.dataset.input_shape)
    split: Split = replace(given.split, members=given.split.non_members, non_members=given.split.members)
    run_stages(model, recipe, ("train",), given.dataset, split, quiet=True)
    return model.eval()


def _save(model: Classifier, path: Path) -> None:
    torch.save({f"inner.{name}": tensor for name, tensor in model.state_dict().items()}, path)
