"""What is asked: a checkpoint with its data, budgets, and the halves by which a file is chosen and told."""

import shutil
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

from edgepriv.data import Halves
from edgepriv.files import read_bytes, read_json, write_json
from edgepriv.project import Trained
from edgepriv.recipe import Model, Recipe
from edgepriv.tuning.budgets import Budgets
from edgepriv.tuning.space import EPOCHS

VERSION = 1
"""Of the search: another one begins anew."""


@dataclass(frozen=True)
class Question:
    """``model``: the checkpoint's file; ``recipe``: what the candidates have in common, None for the usual; ``given``: the
    opened checkpoint; ``budgets``; ``halves`` of its candidates; ``data_dir``: of the data sets."""

    model: Path
    recipe: Recipe | None
    given: Trained
    budgets: Budgets
    halves: Halves
    data_dir: Path | None

    @property
    def network(self) -> Model:
        """What confirms the user's own network wherever a file names it: it has been confirmed for the checkpoint."""
        return self.given.checkpoint.recipe.model

    @property
    def factory(self) -> str | None:
        """The user's own ``package.module:factory``, None for a network that edgepriv knows."""
        return self.network.name if ":" in self.network.name else None

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs of fine-tuning on each rung. A model that was trained with differential privacy is rounded as it is."""
        return (0,) if self.given.checkpoint.recipe.dp.active else EPOCHS


def hash_of(model: Path, recipe: Recipe | None, budgets: Budgets) -> str:
    """Of everything that changes what is found; neither the time nor the number of candidates does.

    Args:
        model: the checkpoint's file.
        recipe: what the candidates have in common.
        budgets: that were asked for.

    Returns:
        16 hex digits.

    Raises:
        UserError: where there is no such file.
    """
    asked = None if recipe is None else recipe.model_dump(mode="json")
    told = [VERSION, sha256(read_bytes(model, "a checkpoint")).hexdigest(), asked, budgets.record()]
    return sha256(dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Work:
    """The folder in which a question's study and finished candidates are kept, so that a killed search goes on."""

    folder: Path

    @property
    def study(self) -> Path:
        """Optuna's journal."""
        return self.folder / "study.journal"

    def candidate(self, name: str) -> Path:
        """The folder of one candidate.

        Args:
            name: of it.

        Returns:
            A path, which may not be there.
        """
        return self.folder / "candidates" / name

    def read(self, name: str) -> dict[str, Any] | None:
        """What was kept.

        Args:
            name: of the file, without its ending.

        Returns:
            Its content; None where there is none. It is written whole or not at all.

        Raises:
            UserError: where somebody has damaged it.
        """
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        content: dict[str, Any] = read_json(path, "the work folder of edgepriv tune")
        return content

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Keep figures, whole or not at all.

        Args:
            name: of the file, without its ending.
            content: as JSON.
        """
        write_json(self.folder / f"{name}.json", content)

    def trim(self, name: str) -> None:
        """Forget the files of a candidate but for its checkpoint; its figures stay.

        Args:
            name: of it.
        """
        folder, kept = self.candidate(name), self.checkpoint(name)
        for path in folder.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != kept:
                path.unlink()

    def checkpoint(self, name: str) -> Path:
        """The trained weights of a candidate.

        Args:
            name: of it.

        Returns:
            A path, which may not be there.
        """
        return self.candidate(name) / "model.pt"
