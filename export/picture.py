"""Picture files -> the numbers that a model takes, as training reads them: edgepriv's data reader calls the same functions.

Needs numpy and Pillow. Nothing is converted, cut, turned or resized without being said. js/picture.mjs is this file in
JavaScript, number for number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".pbm", ".tif", ".tiff", ".webp", ".gif")
FEWER_BITS = 14
"""Cameras and scanners record 10, 12 or 14 bits into words of 16; taken for 16, such pictures would all be nearly black."""
_ORIENTATION = 0x0112
_TRANSPARENT = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
_DEEP_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_PLAIN = frozenset({"1", "L", "P", "I", "F", "RGB"}) | _TRANSPARENT | _DEEP_GREY
"""What is read as it is; anything else, such as CMYK, becomes RGB."""
_LUMINANCE = (299, 587, 114)
"""Weights of red, green and blue in thousandths (ITU-R BT.601), as Pillow and torchvision take them: whole numbers, so that
what lies half-way between two shades is rounded alike everywhere."""
_COLOURS = (1, 3, 4)


class PictureError(Exception):
    """A picture that cannot be read or used; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class Picture:
    """``planes``: [C, H, W], whole numbers of 8 or 16 bits or floating point. ``turned``: rotated as the EXIF data say.
    ``shortened``: 16 bits for each colour, of which the upper 8 were read. ``converted``: from which mode to RGB, if any."""

    planes: np.ndarray
    turned: bool = False
    shortened: bool = False
    converted: str | None = None


def read(title: str, source: Any, channels: int | None = None) -> Picture:
    """Read one picture.

    Args:
        title: how messages call it.
        source: path of a file, or an opened picture.
        channels: of the model; four keep an alpha channel, which is dropped otherwise where it is opaque throughout.

    Returns:
        The picture, in its own number of channels.

    Raises:
        PictureError: where it cannot be read, holds several pictures, or is transparent.
    """
    try:
        with ExitStack() as closing:
            opened = Image.open(source) if isinstance(source, Path) else source
            if isinstance(source, Path):
                closing.callback(opened.close)
            if not isinstance(opened, Image.Image):
                raise PictureError(f"{title} cannot be read as an image: it is a {type(source).__name__}")
            frames = getattr(opened, "n_frames", 1)
            if frames > 1:
                raise PictureError(f"{title} holds {frames} pictures, and an example is one: save each to a file")
            opened.load()
            shortened = isinstance(source, Path) and _colour_of_16_bits(source, opened)
            turned = opened.getexif().get(_ORIENTATION) in range(2, 9)
            if turned:
                opened = ImageOps.exif_transpose(opened)
            planes = _values(title, opened, channels)
            return Picture(planes, turned, shortened, None if opened.mode in _PLAIN else opened.mode)
    except (OSError, SyntaxError, ValueError, TypeError, RuntimeError, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PictureError(f"{title} cannot be read as an image: {reason}") from error


def _values(title: str, picture: Image.Image, channels: int | None) -> np.ndarray:
    if picture.mode in _DEEP_GREY or (picture.mode == "I" and picture.format == "PNG"):
        return np.asarray(picture).astype(np.uint16)[None]
    if picture.mode in ("L", "I", "F"):
        return np.array(picture)[None]
    if picture.mode == "1":
        return np.array(picture.convert("L"))[None]
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif "transparency" in picture.info and picture.mode == "RGB":
        picture = picture.convert("RGBA")
    if picture.mode in _TRANSPARENT:
        return _without_alpha(title, picture, channels)
    if picture.mode != "RGB":
        picture = picture.convert("RGB")
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _without_alpha(title: str, picture: Image.Image, channels: int | None) -> np.ndarray:
    """Grey or colour alone where the alpha channel is opaque throughout; all four channels where four are asked for."""
    grey = picture.mode in ("LA", "La")
    planes = np.asarray(picture.convert("LA" if grey else "RGBA")).transpose(2, 0, 1)
    if channels == len(planes):
        return np.ascontiguousarray(planes)
    if (planes[-1] != 255).any():
        raise PictureError(
            f"{title} has transparent pixels, whose colour is the background's: save the pictures on the background that the "
            "model is to see, without an alpha channel"
        )
    return np.ascontiguousarray(planes[:-1])


def _colour_of_16_bits(path: Path, picture: Image.Image) -> bool:
    """Whether a PNG of colour has 16 bits for each channel, of which Pillow reads the upper 8."""
    if picture.format != "PNG" or picture.mode not in ("RGB", "RGBA", "LA"):
        return False
    with path.open("rb") as file:
        return file.read(25)[24:] == b"\x10"


def with_channels(planes: np.ndarray, channels: int, title: str) -> np.ndarray:
    """A picture in another number of channels: grey repeated, or the luminance of colour.

    Args:
        planes: [C, H, W].
        channels: that it is to have.
        title: how messages call it.

    Returns:
        [channels, H, W] in the same type.

    Raises:
        PictureError: for a colour picture in anything but grey, and for other numbers of channels.
    """
    if len(planes) == channels:
        return planes
    if len(planes) == 1:
        return np.repeat(planes, channels, axis=0)
    if (len(planes), channels) == (3, 1):
        whole = planes.dtype.kind in "ui"
        red, green, blue = planes.astype(np.int64 if whole else np.float64)
        grey = (_LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue)[None] / 1000
        shades: np.ndarray = (np.rint(grey) if whole else grey).astype(planes.dtype)
        return shades
    raise PictureError(f"{title}: pictures of {len(planes)} channels cannot be turned into {channels}")


def resized(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture at another height and width, antialiased; no value leaves the range of the picture's.

    Args:
        planes: [C, H, W].
        size: height and width, in pixels.

    Returns:
        [C, height, width] in the same type, whole numbers rounded.
    """
    if planes.shape[1:] == size:
        return planes
    height, width = size
    opened = [Image.fromarray(plane.astype(np.float32)) for plane in planes]
    pixels = np.stack([np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR)) for plane in opened])
    return np.rint(pixels).astype(planes.dtype) if planes.dtype.kind in "uib" else pixels.astype(planes.dtype)


def layout(row: Sequence[int]) -> tuple[int, tuple[int, int], bool] | None:
    """How a model takes a picture.

    Args:
        row: shape of one example.

    Returns:
        Channels, (height, width), and whether the channels come last; None where the shape is not that of a picture.
    """
    if len(row) != 3 or not all(isinstance(size, int) and size > 0 for size in row):
        return None
    if row[0] in _COLOURS:
        return row[0], (row[1], row[2]), False
    return (row[2], (row[0], row[1]), True) if row[2] in _COLOURS else None


def examples(
    paths: Sequence[Path], row: Sequence[int], span: tuple[float, float] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Pictures from files as a model takes them.

    Args:
        paths: of the files, at least one.
        row: shape of one example of the model.
        span: which numbers of a picture of more than 8 bits are black and white; None where that is not known.

    Returns:
        [n, *row], uint8 where all pictures have 8 bits, else float32 in [0, 1]; and sentences about what was done to them.

    Raises:
        PictureError: for a picture that cannot be read or used, and a model that takes none.
    """
    known = layout(row)
    if known is None:
        raise PictureError(f"{paths[0]} is a picture, but the model takes examples of shape {list(row)}")
    channels, size, last = known
    done: Counter[str] = Counter()
    arrays = []
    for path in paths:
        picture = read(str(path), path, channels)
        planes = with_channels(picture.planes, channels, str(path))
        if len(planes) != len(picture.planes):
            done["turned from colour to grey" if channels == 1 else f"of grey, repeated in {channels} channels"] += 1
        if planes.shape[1:] != size:
            done[
                f"resized to {size[0]}x{size[1]} regardless of their proportions, as --image-size does in training"
            ] += 1
        if picture.turned:
            done["rotated as their EXIF data say"] += 1
        if picture.shortened:
            done["of colour with 16 bits for each channel, of which the upper 8 are read"] += 1
        if picture.converted:
            done[f"converted from {picture.converted} to RGB, ignoring any colour profile"] += 1
        planes = in_range(resized(planes, size), span, str(path))
        arrays.append(planes.transpose(1, 2, 0) if last else planes)
    if len({array.dtype for array in arrays}) > 1:
        arrays = [array / np.float32(255) if array.dtype == np.uint8 else array for array in arrays]
    return np.stack(arrays), [f"pictures {what}: {count} of {len(paths)}" for what, count in done.items()]


def in_range(planes: np.ndarray, span: tuple[float, float] | None, title: str) -> np.ndarray:
    """Bytes as they are; numbers of more bits divided by their range.

    Args:
        planes: [C, H, W].
        span: which of its numbers are black and white; None where that is not known: then 65535 is white for 16 bits, unless
            the picture uses fewer, and floating point lies in [0, 1].
        title: how messages call the picture.

    Returns:
        uint8, or float32 in [0, 1].

    Raises:
        PictureError: where the range is not known or does not hold.
    """
    if planes.dtype == np.uint8:
        return planes
    high, most = float(planes.max()), np.iinfo(np.uint16).max
    if span is None and planes.dtype == np.uint16:
        used = max(8, int(high).bit_length())
        if used <= FEWER_BITS:
            raise PictureError(
                f"{title}: the pixels have 16 bits, but none is above {high:g}, as if they were recorded with {used}: say in "
                f"which range they were, --input-range 0:{2**used - 1} or --input-range 0:{most}"
            )
        span = (0, most)
    low, top = (0, 1) if span is None else span
    kept = planes.astype(np.float64 if planes.itemsize > 4 else np.float32)
    unit = np.subtract(kept, low) / (top - low)
    if not (unit.min() >= -1e-4 and unit.max() <= 1 + 1e-4):
        raise PictureError(
            f"{title}: the pixels lie in [{float(planes.min()):g}, {high:g}], not in [{low:g}, {top:g}]: say in which range "
            "they were recorded, such as --input-range 0:4095"
        )
    clipped: np.ndarray = np.clip(unit.astype(np.float32), 0, 1)
    return clipped
