"""Reference models that exist already: their answers and memberships from an .npz, or the models themselves in a folder.

Columns and rows are those of the data set; ``agreement`` sees to it that they are in its order.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepriv.audit.answers import Bools
from edgepriv.audit.logarithms import of_scores
from edgepriv.data import read_arrays
from edgepriv.errors import UserError
from edgepriv.files import UNREADABLE, read_bytes

FEWEST = 2
MEMBER_KEYS = ("member", "members", "membership")
LABEL_KEYS = ("labels", "y")
MEMBERS_FILE = "members.npy"
_KINDS = ("logits", "probabilities")
_OFF = 1e-3
"""How far rows of probabilities may be from a sum of one."""


@dataclass(frozen=True, eq=False)
class Existing:
    """R reference models and what they answer to m records of the data set.

    ``where``: the user's file or folder. ``names``: of the models, for messages. ``answers``: the place of a model -> its
    probabilities float [m, K]. ``member``: bool [R, m], who was trained on what. ``rows``: int64 [m], the records, by
    their places in the data set. ``labels``: [m], as the file has them; ``target``: probabilities [m, K], what the user says
    that the target answers; ``target_member``: bool [m], whom he says that it was trained on; each None where it says nothing.
    ``asked``: whether the models were asked here, so that nobody need prove which record is which; ``trained``: whether they
    were trained here too, by the user's function.
    """

    where: str
    names: tuple[str, ...]
    answers: Callable[[int], np.ndarray]
    member: Bools
    rows: np.ndarray
    labels: np.ndarray | None = None
    target: np.ndarray | None = None
    target_member: Bools | None = None
    asked: bool = False
    trained: bool = False


def scores_in(path: Path, records: int, classes: int) -> Existing:
    """The references of ``--reference-scores``: ``logits`` or ``probabilities`` [R, m, K] and ``member`` [R, m].

    Args:
        path: an .npz. Beside these it may hold ``index`` int [m] (places in the data set; without it m is all ``records``),
            ``labels`` [m], ``target`` [m, K] (what the audited model answers, in the same kind) and ``target_member`` [m].
        records: of the data set.
        classes: K of the audited model.

    Returns:
        R models, whose answers are probabilities [m, K] whatever the file holds.

    Raises:
        UserError: for another shape, numbers that are not finite or not of their kind, a membership that is not true or false.
    """
    arrays = read_arrays(path)
    kind = _one_of(path, arrays, _KINDS)
    scores = arrays[kind]
    if scores.ndim != 3 or scores.dtype.kind != "f":
        raise UserError(
            f"{path}: {kind} must be floats [R, n, K], one row of {classes} numbers for each model and record (they are "
            f"{scores.dtype} {list(scores.shape)})"
        )
    count, columns = scores.shape[:2]
    if not count or not columns:
        raise UserError(
            f"{path}: {kind} are those of {count} models and {columns} records: there is nothing to compare"
        )
    if scores.shape[2] != classes:
        raise UserError(f"{path}: {kind} have {scores.shape[2]} classes, the audited model {classes}")
    rows = _rows(path, arrays, columns, records)
    member = _bools(path, arrays, _one_of(path, arrays, MEMBER_KEYS), (count, columns))
    for r in range(count):
        _refuse_wrong(path, f"{kind}[{r}]", scores[r], kind)
    target = None
    if "target" in arrays:
        target = arrays["target"]
        if target.shape != (columns, classes) or target.dtype.kind != "f":
            raise UserError(
                f"{path}: target must be floats [{columns}, {classes}], what the audited model answers to the same records "
                f"(it is {target.dtype} {list(target.shape)})"
            )
        _refuse_wrong(path, "target", target, kind)
        target = _as_probabilities(target, kind)
    labels = next((arrays[key] for key in LABEL_KEYS if key in arrays), None)
    if labels is not None and labels.shape != (columns,):
        raise UserError(f"{path}: labels must be [{columns}], one for each record (they are {list(labels.shape)})")
    target_member = _bools(path, arrays, "target_member", (columns,)) if "target_member" in arrays else None
    names = tuple(f"reference {r}" for r in range(count))
    return Existing(
        str(path),
        names,
        lambda r: _as_probabilities(scores[r], kind),
        member,
        rows,
        labels,
        target,
        target_member,
    )


def models_in(folder: Path) -> list[tuple[Path, Path]]:
    """The models of ``--reference-models`` with the file that says what each was trained on.

    Beside NAME.onnx (or NAME.pt) stands NAME.members.npy, or ``members.npy`` where the folder holds that one model.

    Args:
        folder: it is searched to any depth.

    Returns:
        (model, members file), in the order of the models' paths.

    Raises:
        UserError: for a folder without models, and for a model without such a file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: --reference-models names one that holds .onnx or .pt files")
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".onnx", ".pt") and path.is_file())
    pairs = []
    for path in paths:
        own, alone = path.with_name(f"{path.stem}.{MEMBERS_FILE}"), path.with_name(MEMBERS_FILE)
        neighbours = [other for other in paths if other.parent == path.parent]
        if own.is_file():
            pairs.append((path, own))
        elif alone.is_file() and len(neighbours) == 1:
            pairs.append((path, alone))
        else:
            raise UserError(
                f"{path} has no {own.name} beside it (nor {MEMBERS_FILE} in a folder of its own): say which records it was "
                "trained on"
            )
    if not pairs:
        raise UserError(f"{folder} holds no .onnx or .pt files")
    return pairs


def membership_in(path: Path, records: int) -> Bools:
    """What a model was trained on, from its members file.

    Args:
        path: .npy of a mask over the data set, or of the places of what the model was trained on.
        records: in the data set.

    Returns:
        bool [records].

    Raises:
        UserError: for a file that is neither, or speaks of another number of records.
    """
    try:
        stored = np.load(io.BytesIO(read_bytes(path, "file of memberships")), allow_pickle=False)
    except UNREADABLE as error:
        raise UserError(f"{path} is not a readable .npy file of plain numbers") from error
    if not isinstance(stored, np.ndarray) or stored.ndim != 1 or stored.dtype.kind not in "biu":
        raise UserError(
            f"{path} must hold one row: true or false for each of {records} records, or the places of those inside"
        )
    if stored.dtype.kind == "b":
        if len(stored) != records:
            raise UserError(f"{path} says of {len(stored)} records whether they are inside, but there are {records}")
        return stored
    if len(stored) == records and np.isin(stored, (0, 1)).all() and records > 2:
        return stored.astype(bool)
    if len(stored) and (stored.min() < 0 or stored.max() >= records):
        raise UserError(f"{path} names record {stored.max() if stored.max() >= records else stored.min()} of {records}")
    if len(np.unique(stored)) < len(stored):
        raise UserError(f"{path} names a record twice")
    member = np.zeros(records, dtype=bool)
    member[stored] = True
    return member


def of_models(folder: Path, names: Sequence[str], answers: Callable[[int], np.ndarray], member: Bools) -> Existing:
    """References whose models are asked here about every record.

    Args:
        folder: that they are in.
        names: of the R models.
        answers: r -> probabilities [records, K].
        member: bool [R, records].

    Returns:
        The references.
    """
    return Existing(str(folder), tuple(names), answers, member, np.arange(member.shape[1]), asked=True)


def _one_of(path: Path, arrays: dict[str, np.ndarray], keys: tuple[str, ...]) -> str:
    present = [key for key in keys if key in arrays]
    if len(present) != 1:
        what = (
            f"several of {', '.join(present)}"
            if present
            else f"{sorted(arrays)}, and none of them is {' or '.join(keys)}"
        )
        raise UserError(f"{path} holds {what}: exactly one is needed")
    return present[0]


def _rows(path: Path, arrays: dict[str, np.ndarray], columns: int, records: int) -> np.ndarray:
    if "index" not in arrays:
        if columns != records:
            raise UserError(
                f"{path} is about {columns} records, but there are {records} (members first, then non-members; of a model with "
                "a manifest, the data set in its own order): add index [n], the place of each column among them"
            )
        return np.arange(records)
    index = arrays["index"]
    if index.shape != (columns,) or index.dtype.kind not in "iu":
        raise UserError(f"{path}: index must be whole numbers [{columns}] (it is {index.dtype} {list(index.shape)})")
    if index.min() < 0 or index.max() >= records:
        raise UserError(f"{path}: index goes from {index.min()} to {index.max()}, but there are {records} records")
    if len(np.unique(index)) < columns:
        raise UserError(f"{path}: index names a record twice")
    return index.astype(np.int64)


def _bools(path: Path, arrays: dict[str, np.ndarray], key: str, shape: tuple[int, ...]) -> Bools:
    stored = arrays[key]
    if stored.shape != shape:
        raise UserError(f"{path}: {key} must be {list(shape)}, true where trained on (it is {list(stored.shape)})")
    if stored.dtype.kind != "b" and not (stored.dtype.kind in "iuf" and np.isin(stored, (0, 1)).all()):
        raise UserError(f"{path}: {key} must be true or false, or 1 or 0")
    return np.asarray(stored, dtype=bool)


def _refuse_wrong(path: Path, name: str, scores: np.ndarray, kind: str) -> None:
    if not np.isfinite(scores).all():
        raise UserError(f"{path}: {name} holds NaN or infinity: that model's training diverged, or its file is damaged")
    sums = scores.sum(axis=1, dtype=np.float64)
    distributed = bool(scores.min() >= 0 and np.abs(sums - 1).max() <= _OFF)
    if kind == "probabilities" and not distributed:
        raise UserError(
            f"{path}: {name} is no probabilities (rows in [0, 1] that sum to 1): call the array logits if it is these"
        )
    if kind == "logits" and distributed:
        raise UserError(f"{path}: {name} is probabilities already (its rows sum to 1): call the array probabilities")
    if kind == "logits" and scores.min() >= 0 and scores.max() <= 1:
        raise UserError(
            f"{path}: {name} lies between 0 and 1, as answers behind a sigmoid do, and is no logits: save what the models "
            "answer before it"
        )


def _as_probabilities(scores: np.ndarray, kind: str) -> np.ndarray:
    return np.exp(of_scores(scores.astype(np.float64))) if kind == "logits" else scores
