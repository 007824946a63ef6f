"""What public weights were trained on, through every file that they come from; no member may be among it."""

from pathlib import Path

import numpy as np

from edgepriv import data
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.models.checkpoint import is_checkpoint
from edgepriv.models.reading import load_tensors
from edgepriv.project import recorded_data
from edgepriv.recipe import Recipe, parse
from edgepriv.recipe.defences.dmp import DMP, Dmp
from edgepriv.recipe.defences.extra import EXTRA, Extra

_LONGEST = 16
"""Files that were trained from one another which are followed."""


def refuse_members_of_public(recipe: Recipe, dataset: Dataset, split: Split, data_dir: Path | None) -> list[str]:
    """Refuse public weights that were trained on members: no epsilon would cover what those weights know of them, and the
    reference models of an audit, which start from them too, would know all members already.

    Args:
        recipe: of a training that may start from public weights.
        dataset: that it trains on.
        split: who of it is a member.
        data_dir: folder of the data sets.

    Returns:
        What is known of the data of the public weights, and what is not, as sentences.

    Raises:
        UserError: says how many members they were trained on.
    """
    if recipe.start.path is None:
        return []
    path = Path(recipe.start.path)
    seen, unknown = _seen_by(path, data_dir, _LONGEST)
    shared = data.shared_with(dataset.x[split.members], *(x for x, _ in seen))
    if shared:
        raise UserError(
            f"--start-weights {path} was trained on {shared:,} of the {len(split.members):,} members, and {_why(recipe)}: take "
            "weights that are public, or train from random ones"
        )
    counted = " and ".join(what for _, what in seen)
    known = [f"{path.name} was trained on {counted}, none of which is a member"] if seen and not unknown else []
    holds = "epsilon holds" if recipe.dp.active else "an audit finds what there is to find"
    return known + [
        f"whether {path.name} was trained on any of the members is not known ({reason}): {holds} if it was not"
        for reason in unknown[:1]
    ]


def _why(recipe: Recipe) -> str:
    if recipe.dp.active:
        return "no epsilon would cover what its weights know of them"
    return (
        "an audit would find too little, as its reference models start from these weights too and know the members already "
        "(to train a model further, use edgepriv harden)"
    )


_Seen = list[tuple[np.ndarray, str]]


def _seen_by(path: Path, data_dir: Path | None, further: int) -> tuple[_Seen, list[str]]:
    """Inputs that a file's weights were trained on, in words too; and reasons why there may be others."""
    content = load_tensors(path)
    if not is_checkpoint(content):
        return [], [f"{path.name} does not say what it was trained on"]
    if content.get("elsewhere"):
        return [], [f"{path.name} was trained elsewhere first"]
    record = content.get("data")
    try:
        if not record:
            raise UserError(f"{path.name} does not say what it was trained on")
        made_by = parse(content["recipe"], str(path))
        dataset, split = recorded_data(record, data_dir, path.name)
        # Held-out examples choose epochs, and some defences distil on them.
        own = np.concatenate([split.members, split.holdout, split.validation])
        seen = [(dataset.x[own], f"{len(split.members):,} examples of {record['name']}"), *_beside(made_by, dataset)]
    except UserError as error:
        return [], [str(error)]
    unknown: list[str] = []
    for file, sha256 in _made_from(path, made_by):
        if further == 0 or not file.is_file() or (sha256 is not None and sha256_of(file) != sha256):
            unknown.append(f"{path.name} comes from {file.name}, which is not beside it as it was")
            continue
        more, reasons = _seen_by(file, data_dir, further - 1)
        seen += more
        unknown += reasons
    return seen, unknown


def _beside(recipe: Recipe, dataset: Dataset) -> _Seen:
    """Extra examples and public ones."""
    seen: _Seen = []
    extra, dmp = recipe.own(Extra), recipe.own(Dmp)
    if EXTRA.active(recipe) and extra.path is not None:
        x = data.read_extra(extra.path, dataset, recipe.data).x
        seen.append((x, f"{len(x):,} of {extra.path.name}"))
    if DMP.active(recipe) and dmp.file is not None:
        x = data.read_public(dmp.file, dataset, recipe.data).x
        seen.append((x, f"{len(x):,} of {dmp.file}"))
    return seen


def _made_from(path: Path, recipe: Recipe) -> list[tuple[Path, str | None]]:
    """Files of models that a checkpoint knows of: the weights that it started from, which are looked for beside it, and the
    model that labelled its extra examples. With their hashes, None where nobody kept one."""
    files: list[tuple[Path, str | None]] = []
    if recipe.start.active:
        files.append((path.parent / (recipe.start.file or "the file"), recipe.start.sha256))
    extra = recipe.own(Extra)
    if EXTRA.active(recipe) and extra.labelled_by is not None:
        files.append((extra.labelled_by, None))
    return files
