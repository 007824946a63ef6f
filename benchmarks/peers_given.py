"""What each tool of benchmarks/peers_audit.py is given: one folder with the data, the target and its reference models.

Read by the peers' own processes too, so it imports no more of edgepriv than it takes to build a network.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgepriv.models import build_classifier
from edgepriv.recipe import Recipe


class Network(nn.Module):
    """The recipe's architecture with its normalisation inside: float32 [n, ...] in [0, 1] -> logits [n, classes]."""

    def __init__(self, recipe: dict[str, Any], classes: int, shape: list[int]) -> None:
        super().__init__()
        self.recipe, self.classes, self.shape = recipe, classes, shape
        model = Recipe.model_validate(recipe).model
        self.inner = build_classifier(model, classes, tuple(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


@dataclass(frozen=True, eq=False)
class Given:
    """``x`` float32 [n + z, ...] and ``y`` int64: the candidates, members first, then examples that no model was trained on.
    ``member``: bool [references, n], what each reference model was trained on."""

    folder: Path
    recipe: Recipe
    classes: int
    members: int
    x: np.ndarray
    y: np.ndarray
    member: np.ndarray

    @property
    def candidates(self) -> int:
        return self.member.shape[1]

    @property
    def arguments(self) -> dict[str, Any]:
        """Of ``Network``."""
        recipe = self.recipe.model_dump(mode="json")
        return {"recipe": recipe, "classes": self.classes, "shape": list(self.x.shape[1:])}

    def fresh(self) -> Network:
        return Network(**self.arguments)

    def state(self, name: str) -> dict[str, torch.Tensor]:
        """Of ``target``, of ``complement`` (trained on the candidates that the target was not trained on), or of
        ``reference-0000`` and so on."""
        return torch.load(self.folder / f"{name}.pt", weights_only=True)

    def references(self) -> Iterator[dict[str, torch.Tensor]]:
        return (self.state(f"reference-{r:04d}") for r in range(len(self.member)))

    def loaded(self, name: str) -> Network:
        network = self.fresh()
        network.load_state_dict(self.state(name))
        return network.eval()


def read(folder: Path) -> Given:
    about = json.loads((folder / "about.json").read_text())
    with np.load(folder / "data.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in ("x", "y", "member")}
    return Given(folder, Recipe.model_validate(about["recipe"]), about["classes"], about["members"], **arrays)


def write_answer(folder: Path, scores: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    """``scores`` float64 [n] of each attack on the candidates, members first; high for members."""
    np.savez(folder / "answer.npz", **{name: np.asarray(s, dtype=np.float64) for name, s in scores.items()})
    (folder / "answer.json").write_text(json.dumps(settings))


def read_answer(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(folder / "answer.npz", allow_pickle=False) as file:
        scores = {name: file[name] for name in file.files}
    return scores, json.loads((folder / "answer.json").read_text())
