"""The most exposed records themselves, for the eyes of those who may see them: only where it is asked for (``--show-records``).

An audit names records by their position. With this part it holds them, and is as private as the training data.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from edgepriv.data import Dataset
from edgepriv.data.encoding import TableEncoding

SIDE = 96
"""Pixels of a thumbnail's longer side, at most: to recognise a record, and to keep a report small."""
VALUES = 40
"""Values of a record without columns that are shown, at most."""
NOTE = (
    "This audit holds records of the training data (--show-records): it is as private as these, and must not go further than "
    "they may."
)


def shown_records(dataset: Dataset, most_exposed: Mapping[str, Any] | None) -> dict[str, Any]:
    """The records that ``most_exposed`` names.

    Args:
        dataset: the examples.
        most_exposed: of the audit; None without any.

    Returns:
        ``note``, and ``rows`` of ``index``, ``rank`` and ``class``, each with ``image`` (a PNG as a data address) or ``values``
        (pairs of a name and a text). As JSON.
    """
    named: Sequence[Mapping[str, Any]] = (most_exposed or {}).get("rows") or []
    rows = [
        {"index": row["index"], "rank": row["rank"], "class": dataset.class_names[row["label"]]}
        | _shown(dataset, row["index"])
        for row in named
    ]
    note = NOTE if rows else f"No record is shown: {(most_exposed or {}).get('note') or 'no attack singles one out.'}"
    return {"note": note, "rows": rows}


def _shown(dataset: Dataset, index: int) -> dict[str, Any]:
    record = dataset.inputs(np.array([index]))[0]
    if record.ndim == 3 and record.shape[0] in (1, 3):
        return {"image": thumbnail(record)}
    if dataset.encoding is not None:
        return {"values": list(_cells(dataset.encoding, record))}
    return {"values": _numbers(record.reshape(-1))}


def thumbnail(image: np.ndarray) -> str:
    """An image as a small PNG.

    Args:
        image: float32 [C, H, W] in [0, 1], of 1 or 3 channels.

    Returns:
        A data address.
    """
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _cells(encoding: TableEncoding, record: np.ndarray) -> Iterator[list[str]]:
    """Columns of a table with what stands there, from the inputs that they became; of a category, the input that is 1."""
    for (column, slot), value in zip(encoding.features, record.tolist(), strict=True):
        if slot != "value":
            if value > 0.5:
                yield [column["name"], slot.removeprefix("= ")]
        elif column["kind"] in ("number", "integer"):
            yield [column["name"], f"{column['low'] + value * (column['high'] - column['low']):.6g}"]
        else:
            yield [column["name"], f"{value:.4g} of its range"]


def _numbers(inputs: np.ndarray) -> list[list[str]]:
    """The first inputs, by number."""
    values = [[str(place), f"{value:.4g}"] for place, value in enumerate(inputs[:VALUES].tolist())]
    return [*values, ["...", f"{len(inputs) - VALUES:,} more"]] if len(inputs) > VALUES else values
