"""What is asked: a checkpoint with its data, budgets, and the halves by which a file is chosen and told."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

from edgepriv.data import Halves
from edgepriv.errors import UserError
from edgepriv.files import read_bytes, read_json, sha256_of, write_json
from edgepriv.hardening_recipe import hardening_recipe
from edgepriv.models.scattering import FixedConv2d
from edgepriv.models.sources import code_of
from edgepriv.project import Trained
from edgepriv.recipe import Model, Recipe
from edgepriv.recipe.conflicts import refuse_impossible
from edgepriv.recipe.defences.dmp import Dmp
from edgepriv.recipe.defences.extra import Extra
from edgepriv.training.resume import code_version
from edgepriv.tuning.budgets import Budgets, limit_in_bytes
from edgepriv.tuning.float_file import FloatFile, float_file
from edgepriv.tuning.plan import DEFENCES, Plan, Setting
from edgepriv.tuning.space import EPOCHS, GRANULARITIES, QUANTIZERS, ROBUST_EPOCHS

VERSION = 8
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

    @cached_property
    def float_file(self) -> FloatFile:
        """Which sizes are told by."""
        return float_file(self.given, (self.recipe or self.given.checkpoint.recipe).export)

    @cached_property
    def setting(self) -> Setting:
        """What is searched depends on it."""
        split, recipe, size = self.given.split, self.given.checkpoint.recipe, self.budgets.size
        shape = self.given.dataset.input_shape
        return Setting(
            trains=not recipe.dp.active,
            images=len(shape) == 3,
            epochs=recipe.train.epochs,
            holdout=len(split.holdout) / len(split.members),
            most_bits=None if size is None else self._mean_bits(limit_in_bytes(size, self.float_file.size)),
            steps=(self.recipe or recipe).adversary.steps,
            lr=(self.recipe or recipe).qat.lr,
            attacked=self._attacked,
            robust_epochs=self._robust_epochs,
            tuned_attacked=(self.recipe or recipe).qat.adversarial,
            fixed=any(isinstance(own, FixedConv2d) for own in self.given.checkpoint.classifier().network.modules()),
            unfit=frozenset(name for name in list(DEFENCES)[1:] if self.unfit(name)),
        )

    @property
    def _attacked(self) -> bool:
        """Whether candidates have an adversary that is not searched."""
        made_by, asked = self.given.checkpoint.recipe, self.recipe
        named = asked is not None and asked.adversary.method != "none"
        return made_by.train.adversarial or (named and not made_by.dp.active)

    @property
    def _robust_epochs(self) -> int:
        return 0 if self.recipe is None or self.rungs[-1] == 0 else self.recipe.robust.epochs

    def replaced(self) -> list[str]:
        """What the recipe says and the search decides."""
        if self.recipe is None:
            return []
        own, usual = self.recipe, Recipe()
        searched = {
            "bits": own.quantize.bits != usual.quantize.bits,
            "quantizer": own.quantize.quantizer != usual.quantize.quantizer,
            "granularity": own.quantize.granularity != usual.quantize.granularity,
            "epochs of fine-tuning": self.rungs[-1] > 0 and own.qat.epochs != usual.qat.epochs,
            "epochs of adversarial training": self.rungs[-1] > 0
            and self.budgets.robust is not None
            and own.robust.epochs > 0,
        }
        return [name for name, is_said in searched.items() if is_said]

    def _mean_bits(self, limit: float) -> float:
        """Bits of a weight on average that so many bytes leave room for."""
        return 8 * (limit - 4 * self.float_file.others) / max(1, self.float_file.weights)

    def unfit(self, defence: str) -> str | None:
        """Why a defence does not go with what the checkpoint was trained by, and with the recipe.

        Args:
            defence: a name of DEFENCES.

        Returns:
            The reason; None where it goes with them.
        """
        made_by = self.given.checkpoint.recipe
        searched = self.budgets.robust is not None and self.rungs[-1] > 0
        epochs = ROBUST_EPOCHS[0] if searched else self._robust_epochs
        method = None if self._attacked else "pgd" if searched else "none"
        distils = int(bool({"dmp", "selena"} & DEFENCES[defence].keys()))
        few = Plan("*=4", QUANTIZERS[0], GRANULARITIES[0], defence, epochs, distil_epochs=distils, adversary=method)
        try:
            refuse_impossible(hardening_recipe(made_by, self.recipe, few.changes(self.rungs[0]), self.model))
        except UserError as error:
            return str(error)
        return None


def hash_of(question: Question) -> str:
    """Of everything that changes what is found; neither the time nor the number of candidates does.

    Args:
        question: that is asked. The data of its checkpoint have been proved to be those that it was trained on.

    Returns:
        16 hex digits. They change with the checkpoint, the recipe, every file that it names, the user's own code, the code of
        training and the budgets.

    Raises:
        UserError: where a file is missing.
    """
    dataset, recipe = question.given.dataset, question.recipe
    asked = None if recipe is None else recipe.model_dump(mode="json")
    told = [
        VERSION,
        sha256(read_bytes(question.model, "a checkpoint")).hexdigest(),
        asked,
        question.budgets.record(),
        dataset.sha256,
        code_of(question.network, dataset.num_classes, dataset.input_shape),
        code_version(),
        [_content_of(path) for path in _files_of(question)],
    ]
    return sha256(dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _files_of(question: Question) -> list[Path]:
    """What is trained on beside the data, distilled on or started from."""
    files: list[Path | None] = []
    for recipe in (question.given.checkpoint.recipe, question.recipe):
        if recipe is not None:
            extra = recipe.own(Extra)
            start = None if recipe.start.path is None else Path(recipe.start.path)
            files += [extra.path, extra.labelled_by, recipe.own(Dmp).path, start]
    return [path for path in files if path is not None]


def _content_of(path: Path) -> list[str]:
    """Hashes of a file, or of all files of a folder by name; empty for one that is missing, which is told where it is read."""
    if path.is_dir():
        inside = sorted(each for each in path.rglob("*") if each.is_file())
        return [f"{each.relative_to(path)} {sha256_of(each)}" for each in inside]
    return [sha256_of(path)] if path.is_file() else []


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

    def forget(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def checkpoint(self, name: str) -> Path:
        """The trained weights of a candidate.

        Args:
            name: of it.

        Returns:
            A path, which may not be there.
        """
        return self.candidate(name) / "model.pt"
