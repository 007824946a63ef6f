"""What device.json has on record of the model that a kit was made for, and the MemGuard that must stand beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

if __package__:
    from .command import KitError
    from .memguard import UNREADABLE, beside, guarded, load
else:
    from command import KitError  # type: ignore
    from memguard import UNREADABLE, beside, guarded, load  # type: ignore


def guarded_answers(model: Path, probabilities: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Send a model's answers through the model.memguard.npz beside it, if there is one.

    Args:
        model: the model's file.
        probabilities: float32 [n, K], its answers.
        x: [n, ...], the inputs that it was given.

    Returns:
        float32 [n, K]; ``probabilities`` where there is no MemGuard.

    Raises:
        KitError: where the kit was made for this model with a MemGuard and the file is missing or another one, or where it
            cannot be read or is for another number of classes.
    """
    path = beside(model)
    check_guard(model, Path(__file__).resolve().parent)
    if not path.is_file():
        return probabilities
    try:
        guard = load(path)
    except UNREADABLE as error:
        raise KitError(f"{path} is not a readable MemGuard ({error}): copy it again") from error
    if guard.classes != probabilities.shape[1]:
        raise KitError(f"{path} is for {guard.classes} classes, but the model has {probabilities.shape[1]}")
    return guarded(guard, probabilities, x)


def kit_of(model: Path) -> Path | None:
    """The kit that was made for a model.

    Args:
        model: the model's file.

    Returns:
        The folder of this file, if device.json in it has that very model on record; None otherwise.
    """
    folder = Path(__file__).resolve().parent
    try:
        files = json.loads((folder / "device.json").read_text())["files"]
        return folder if _sha256(model) in files.values() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def picture_range(folder: Path | None) -> tuple[float, float] | None:
    """Which numbers were black and white in the pictures of more than 8 bits that a model was trained on.

    Args:
        folder: from ``kit_of``.

    Returns:
        Both ends; None where device.json does not say.
    """
    if folder is None:
        return None
    stored = json.loads((folder / "device.json").read_text()).get("picture_range")
    return None if stored is None else (float(stored[0]), float(stored[1]))


def check_guard(model: Path, folder: Path) -> str | None:
    """The MemGuard that a kit has on record for a model.

    Args:
        model: the model's file.
        folder: the kit, with its device.json.

    Returns:
        Name of the file, which is beside the model; None where none is on record.

    Raises:
        KitError: unless that very file is there, and where device.json cannot be read.
    """
    try:
        record = json.loads((folder / "device.json").read_text())
        guard, released = record.get("guard"), set(record["files"].values())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise KitError(f"{folder / 'device.json'} cannot be read ({error}): copy the kit again") from error
    if guard is None or _sha256(model) not in released:
        return None
    path = beside(model)
    if not path.is_file():
        raise KitError(
            f"{path} is missing, and the model's answers are not protected without it: copy it beside the model"
        )
    if _sha256(path) != guard["sha256"]:
        raise KitError(f"{path} is not the file that was shipped (its sha256 differs): copy it again")
    return path.name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
