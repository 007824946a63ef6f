"""Arrays of examples as people save them -> one layout, one range: images [N, C, H, W] or tables [N, F] in [0, 1]."""

import numpy as np

from edgepriv.device import picture as device
from edgepriv.errors import UserError
from edgepriv.recipe import Data

ROUNDING = 1e-4
"""How far beyond its range a number may lie, as a share of the range: float32 arithmetic that undoes a normalisation ends at
1.0000001. Such numbers are clipped; anything further out is another scale, which is for the user to say."""

_CHANNEL_COUNTS = (1, 3, 4)
_UINT8, _UINT16 = 255, 65_535


def laid_out(name: str, x: np.ndarray, asked: Data) -> np.ndarray:
    """Tables as they are; images channels first, in the channels and size that are asked for.

    Args:
        name: of the data, for messages.
        x: [N, F], [N, H, W], [N, C, H, W] or [N, H, W, C].
        asked: ``channels`` and ``image_size``.

    Returns:
        [N, F] or [N, C, H, W].

    Raises:
        UserError: for another shape, when it cannot be told which axis holds the channels, and for a table where channels or a
            size are asked for.
    """
    if x.ndim == 2:
        _refuse_for_tables(name, asked)
        return x
    if x.ndim not in (3, 4):
        raise UserError(f"{name}: examples have shape {list(x.shape[1:])}; expected an image or a row of features")
    images = x[:, None] if x.ndim == 3 else _channels_first(name, x, asked)
    if asked.channels is not None and images.shape[1] != asked.channels:
        images = _in_channels(name, images, asked.channels)
    size = asked.image_size
    if size is not None and images.shape[2:] != size:
        images = np.stack([device.resized(image, size) for image in images])
    return images


def _in_channels(name: str, images: np.ndarray, channels: int) -> np.ndarray:
    try:
        return np.stack([device.with_channels(image, channels, name) for image in images])
    except device.PictureError as error:
        raise UserError(str(error)) from error


def _refuse_for_tables(name: str, asked: Data) -> None:
    if asked.channels is not None or asked.image_size is not None:
        raise UserError(f"{name}: examples are rows of features, which --channels and --image-size do not fit")


def _channels_first(name: str, x: np.ndarray, asked: Data) -> np.ndarray:
    counts = (asked.channels,) if asked.channels in (x.shape[1], x.shape[3]) else _CHANNEL_COUNTS
    first, last = x.shape[1] in counts, x.shape[3] in counts
    if first and last and x.shape[1:3] != x.shape[2:]:
        # [3, 32, 3] is three channels of 32 x 3 or 3 x 32 pixels of three channels: only the size tells.
        first, last = x.shape[2:] == asked.image_size, x.shape[1:3] == asked.image_size
        if first == last:
            one, other = ("x".join(map(str, size)) for size in (x.shape[2:], x.shape[1:3]))
            raise UserError(
                f"{name}: images have shape {list(x.shape[1:])}, and the channels may be first or last: say which by the "
                f"size of a picture, --image-size {one} or --image-size {other}"
            )
    if first:
        return x
    if last:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise UserError(
        f"{name}: images have shape {list(x.shape[1:])}; expected 1, 3 or 4 channels, first or last, or --channels N"
    )


def scaled(name: str, x: np.ndarray, asked: Data) -> tuple[np.ndarray, tuple[str, ...]]:
    """Examples as the pipeline keeps them: uint8 images as they are, everything else float32 in [0, 1].

    Bytes of an image span 0 to 255. Its 16-bit numbers span 0 to 65535 or ``asked.range``, which is asked for where they use
    fewer bits. Other numbers lie in [0, 1] or in ``asked.range``. Numbers in [0, 1] stay as they are whatever the range, which
    may then be the network's.

    Args:
        name: of the data, for messages.
        x: [N, ...], numbers.
        asked: how the file is to be read.

    Returns:
        The examples, and notes on what was assumed of their range.

    Raises:
        UserError: when the numbers are not finite or outside the range.
    """
    if x.dtype.kind not in "uibf":
        raise UserError(f"{name}: examples must be numbers (their dtype is {x.dtype})")
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if bad.any():
        raise UserError(f"{name}: {int(bad.sum())} examples hold NaN or infinity (first: row {int(bad.argmax())})")
    low, high = float(x.min()), float(x.max())
    if x.ndim == 4 and x.dtype in (np.uint8, np.uint16) and not (high == 1 and asked.range is not None):
        return _whole_numbers(name, x, high, asked.range)
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        note = "examples lie in [0, 1] already: --input-range is what the network takes, they stay as they are"
        return _clipped(x), (note,) if asked.range not in (None, (0.0, 1.0)) and x.dtype.kind == "f" else ()
    if asked.range is None:
        raise UserError(
            f"{name}: examples lie in [{low:g}, {high:g}], but inputs must be in [0, 1]: say in which range they were "
            "recorded with --input-range LO:HI (such as 0:255), or scale them first (images may also be uint8)"
        )
    return _within(name, x, asked.range), ()


def _whole_numbers(
    name: str, x: np.ndarray, high: float, asked: tuple[float, float] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images of bytes or of 16-bit numbers."""
    if high == 1:
        raise UserError(
            f"{name}: the pixels are whole numbers 0 and 1, which as bytes would all be black: say --input-range 0:1 if 1 is "
            "white"
        )
    if x.dtype == np.uint8:
        return x, ()
    # A range that ends below what 16 bits are for is the network's, unless every pixel lies in it.
    if asked is not None and (high <= asked[1] or asked[1] > _UINT8):
        return _within(name, x, asked), ()
    used = max(8, int(high).bit_length())
    if used <= device.FEWER_BITS:
        raise UserError(
            f"{name}: the pixels have 16 bits, but none is above {high:g}, as if they were recorded with {used}: say in which "
            f"range they were, --input-range 0:{2**used - 1} or --input-range 0:{_UINT16}"
        )
    return _within(name, x, (0, _UINT16)), (f"the pixels have 16 bits: {_UINT16} is taken for white",)


def _within(name: str, x: np.ndarray, asked: tuple[float, float]) -> np.ndarray:
    low, high = asked
    kept = x.astype(np.float64 if x.itemsize > 4 else np.float32)
    unit = np.subtract(kept, low) / (high - low)
    if unit.min() < -ROUNDING or unit.max() > 1 + ROUNDING:
        raise UserError(
            f"{name}: examples lie in [{float(x.min()):g}, {float(x.max()):g}], outside --input-range {low:g}:{high:g}"
        )
    return _clipped(unit)


def _clipped(x: np.ndarray) -> np.ndarray:
    return np.clip(x.astype(np.float32), 0, 1)
