"""Image sets in the layout in which torchvision keeps them."""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepriv.data.dataset import Dataset, checked
from edgepriv.data.pictures import stacked
from edgepriv.errors import UserError
from edgepriv.recipe import Data
from edgepriv.torchvision_compat import import_torchvision


def from_torchvision(name: str, root: Path, download: bool, asked: Data) -> Dataset | None:
    """A torchvision image set, every part of it.

    Args:
        name: as torchvision's class is called, in any case and with or without underscores.
        root: the folder that torchvision keeps it in.
        download: whether torchvision may fetch it.
        asked: size and channels of the pictures.

    Returns:
        The data set, its parts as one pool; None when torchvision knows no set of that name.

    Raises:
        UserError: when it is absent or cannot be read, and for options that name a column of a file.
    """
    datasets = import_torchvision("datasets")
    classes = {cls.lower(): getattr(datasets, cls) for cls in datasets.__all__}
    source = classes.get(name.replace("_", "").lower())
    if source is None:
        return None
    columns = {"groups": asked.groups, "split-column": asked.split_column, "subgroups": asked.subgroups}
    if named := [option for option, value in columns.items() if value is not None]:
        raise UserError(f"--{named[0]} names a column of your own file, and torchvision's {name} has none")
    parameters = inspect.signature(source).parameters
    parts: list[dict[str, Any]] = (
        [{"train": True}, {"train": False}] if "train" in parameters else [{"split": "train"}, {"split": "test"}]
    )
    options = {"download": download} if "download" in parameters else {}
    try:
        loaded = [source(root=str(root), **part, **options) for part in parts]
    except (ValueError, TypeError, KeyError, EOFError, AssertionError) as error:
        raise UserError(
            f"torchvision cannot read the data set {name!r} in {root} as a training and a test part of labelled images: "
            f"{_first_line(error)}"
        ) from error
    except (RuntimeError, OSError) as error:
        hint = "the download failed" if download else "pass --download to fetch it, or --data-dir to say where it is"
        raise UserError(f"data set {name!r} is not in {root}: {hint} ({_first_line(error)})") from error
    class_names = tuple(str(label) for label in getattr(loaded[0], "classes", ())) or None
    labels: list[int] = []
    x, notes = stacked(name, _pictures(name, loaded, labels), asked)
    return replace(checked(name, x, np.array(labels), class_names, asked=asked), notes=notes)


def _pictures(name: str, parts: Iterable[Any], labels: list[int]) -> Iterator[tuple[str, Any]]:
    """The pictures of all parts in turn; their labels are added to ``labels``."""
    count = 0
    try:
        for part in parts:
            for picture, label in part:
                labels.append(int(label))
                yield f"{name}: example {count}", picture
                count += 1
    except (OSError, SyntaxError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{name}: example {count} cannot be read as an image with a class: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
