"""What a killed run leaves behind, and when it may be gone on from."""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import torch

from edgepriv import progress
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.files import written_aside
from edgepriv.models import Classifier
from edgepriv.models.reading import load_tensors
from edgepriv.models.sources import code_of
from edgepriv.recipe import Recipe
from edgepriv.training.device import multiplies_bfloat16
from edgepriv.training.loop import State


@cache
def code_version() -> str:
    """Hex sha256 of what, beside recipe and data, decides what training yields: torch, whether bfloat16 is native, and the
    code (its syntax, so comments and docstrings do not count)."""
    digest = hashlib.sha256(f"{torch.__version__} {multiplies_bfloat16()}".encode())
    package = Path(__file__).parent.parent
    placing = [package / "artifact" / name for name in ("activation_places.py", "integer_plan.py")]
    placing.append(package / "data" / "repeats.py")
    for source in sorted(
        [source for part in ("models", "training", "heads") for source in (package / part).rglob("*.py")] + placing
    ):
        tree = ast.parse(source.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def key_of(classifier: Classifier, recipe: Recipe, stages: tuple[str, ...], dataset: Dataset, split: Split) -> str:
    """All that a run of stages from given weights depends on, the code included.

    Args:
        classifier: with the weights that it starts from.
        recipe: settings of each stage.
        stages: their names.
        dataset: the examples.
        split: who is a member.

    Returns:
        Hex sha256.
    """
    digest = hashlib.sha256(
        f"{recipe.training_hash()} {recipe.dp.seed} {stages} {dataset.sha256} {split.record()} {code_version()} "
        f"{code_of(recipe.model, dataset.num_classes, dataset.input_shape)}".encode()
    )
    for name, value in classifier.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_resume_state(resume_file: Path | None, key: str) -> dict[str, Any]:
    """What a run has left.

    Args:
        resume_file: None for none.
        key: of the run.

    Returns:
        Where it stands; a run at its beginning where there is nothing, or something else.
    """
    fresh: dict[str, Any] = {
        "position": 0,
        "start": None,
        "teacher": None,
        "extra_labels": None,
        "answers": None,
        "rows": [],
        "defences": {},
        "state": State(),
    }
    if resume_file is None or not resume_file.exists():
        return fresh
    try:
        content = load_tensors(resume_file)
    except UserError:
        progress.note(f"{resume_file} cannot be read and is not resumed")
        return fresh
    if content.get("key") != key:
        progress.note(f"{resume_file} was left by a different run and is not resumed")
        return fresh
    return content | {"state": State(**content["state"])}


def write_resume_state(resume_file: Path | None, content: dict[str, Any]) -> None:
    """Write where a run stands, whole or not at all.

    Args:
        resume_file: None writes nothing.
        content: of the file.
    """
    if resume_file is not None:
        with written_aside(resume_file) as aside:
            torch.save(content, aside)


def remove_resume_state(resume_file: Path) -> None:
    """Remove the file of an interrupted run whose result is now safe.

    Args:
        resume_file: that may be gone already.
    """
    resume_file.unlink(missing_ok=True)
