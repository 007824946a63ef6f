"""What public weights were trained on, through every file that they come from; no member may be among it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgepriv import data
from edgepriv.data import Dataset, ExtraData, Split
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


@dataclass
class _Known:
    """``trained``, ``held``: inputs that weights were trained on, and that were held out and chose epochs or taught;
    ``what``: the first in words; ``unknown``: reasons why there may be others."""

    trained: list[np.ndarray] = field(default_factory=list)
    held: list[np.ndarray] = field(default_factory=list)
    what: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def refuse_members_of_public(
    recipe: Recipe, dataset: Dataset, split: Split, data_dir: Path | None, *, hardens: bool = False
) -> list[str]:
    """Refuse public weights that know members: no epsilon would cover what those weights know of them, and the reference
    models of an audit, which start from them too, would know all members already.

    Args:
        recipe: of a training that may start from public weights.
        dataset: that it trains on.
        split: who of it is a member.
        data_dir: folder of the data sets.
        hardens: whether the model was trained elsewhere, so that its training is over.

    Returns:
        What is known of the data of the public weights, and what is not, as sentences.

    Raises:
        UserError: says how many members they were trained on, or held out.
    """
    if recipe.start.path is None:
        return []
    path = Path(recipe.start.path)
    known = _Known()
    _look(path, data_dir, _LONGEST, known)
    members = dataset.x[split.members]
    trained, held = data.shared_with(members, *known.trained), data.shared_with(members, *known.held)
    if trained or held:
        counted = [f"was trained on {trained:,}"] * (trained > 0) + [f"held out {held:,}"] * (held > 0)
        raise UserError(
            f"--start-weights {path} {' and '.join(counted)} of the {len(split.members):,} members, and "
            f"{_why(recipe, hardens=hardens)}"
        )
    vouched = [
        f"{path.name} was trained on {' and '.join(known.what)}, none of which is equal to a member (a copy that "
        "was rounded or encoded anew would not be noticed)"
    ]
    holds = "epsilon holds" if recipe.dp.active else "an audit finds what there is to find"
    return [
        f"whether {path.name} was trained on any of the members is not known ({reason}): {holds} if it was not"
        for reason in known.unknown[:1]
    ] or vouched


def _why(recipe: Recipe, *, hardens: bool) -> str:
    if recipe.dp.active:
        return "no epsilon would cover what its weights know of them: take weights that are public, or train from random ones"
    too_little = (
        "an audit would find too little, as its reference models start from these weights too and know the members"
    )
    if hardens:
        return f"{too_little} already: leave --start-weights out, and give the audit your own training (--trainer)"
    return (
        f"{too_little} already: take weights that are public, or train from random ones (to train a model further, use "
        "edgepriv harden)"
    )


def _look(path: Path, data_dir: Path | None, further: int, known: _Known) -> None:
    """Add what a file's weights were trained on to ``known``."""
    content = load_tensors(path)
    record = content.get("data") if is_checkpoint(content) else None
    if not record:
        known.unknown.append(f"{path.name} does not say what it was trained on")
        return
    if content.get("elsewhere"):
        known.unknown.append(f"{path.name} was trained elsewhere first")
    try:
        dataset, split = recorded_data(record, data_dir, path.name)
    except UserError as error:
        known.unknown.append(str(error))
        return
    known.trained.append(dataset.x[split.members])
    known.held.append(dataset.x[np.concatenate([split.holdout, split.validation])])
    known.what.append(f"{len(split.members):,} examples of {record['name']}")
    try:
        made_by = parse(content["recipe"], str(path))
    except (KeyError, UserError):
        known.unknown.append(f"the recipe of {path.name} cannot be read")
        return
    _look_beside(path, made_by, dataset, known)
    for file, sha256 in _made_from(path, made_by):
        if further == 0 or not file.is_file() or (sha256 is not None and sha256_of(file) != sha256):
            known.unknown.append(f"{path.name} comes from {file.name}, which is not beside it as it was")
        else:
            _look(file, data_dir, further - 1, known)


def _look_beside(path: Path, recipe: Recipe, dataset: Dataset, known: _Known) -> None:
    """Extra examples and public ones, where they are those that the model had."""
    extra, dmp = recipe.own(Extra), recipe.own(Dmp)
    files: list[tuple[str, ExtraData, str]] = []
    try:
        if EXTRA.active(recipe) and extra.path is not None:
            files.append((extra.path.name, data.read_extra(extra.path, dataset, recipe.data), extra.sha256))
        if DMP.active(recipe) and dmp.file is not None:
            files.append((dmp.file, data.read_public(dmp.file, dataset, recipe.data), dmp.sha256))
    except UserError as error:
        known.unknown.append(str(error))
    for name, beside, sha256 in files:
        known.trained.append(beside.x)
        known.what.append(f"{len(beside.x):,} of {name}")
        if sha256 not in (beside.sha256, ExtraData(beside.x, None).sha256):
            known.unknown.append(f"{name} is not as it was when {path.name} was trained, or another model labelled it")


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
