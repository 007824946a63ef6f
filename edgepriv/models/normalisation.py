"""What a network is fed of inputs in [0, 1]: its input range, mean and standard deviation, put together."""

import math
from collections.abc import Sequence

from edgepriv.errors import UserError
from edgepriv.recipe import Model

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation, one number for each channel or feature."""

IMAGE_DEFAULT = (0.5, 0.25)
"""Mean and standard deviation of images in [0, 1] that say nothing about the training data."""


def in_unit_range(model: Model, input_shape: Sequence[int]) -> Statistics:
    """Mean and standard deviation of inputs in [0, 1] that stand for the recipe's, which are in units of its input range.

    The network sees ``(lo + u * (hi - lo) - mean) / std`` of an input ``u``; that is ``(u - m) / s`` with what is returned.

    Args:
        model: mean, std and input range; one number serves every channel (or feature).
        input_shape: of one example.

    Returns:
        ``m`` and ``s``, one number for each channel (or feature).

    Raises:
        UserError: when there are neither one nor ``input_shape[0]`` numbers, or when they do not fit the range.
    """
    channels, image = input_shape[0], len(input_shape) == 3
    low, high = model.input_range
    width = high - low
    usual_mean, usual_std = IMAGE_DEFAULT if image else (0.0, 1.0)
    mean = model.mean or (low + usual_mean * width,)
    std = model.std or (usual_std * width,)
    if len(mean) not in (1, channels) or len(std) not in (1, channels):
        what = "channel" if image else "feature"
        raise UserError(
            f"model.mean and model.std need {channels} numbers each, or one for every {what} (got {len(mean)} and {len(std)})"
        )
    _refuse_unfit(mean, std, model.input_range)
    mean, std = (values * channels if len(values) == 1 else values for values in (mean, std))
    return tuple((value - low) / width for value in mean), tuple(value / width for value in std)


def _refuse_unfit(mean: Sequence[float], std: Sequence[float], input_range: tuple[float, float]) -> None:
    low, high = input_range
    if min(std) <= 0:
        raise UserError(f"model.std must be positive (got {min(std):g})")
    outside = [value for value in mean if not low <= value <= high]
    wide = [value for value in std if value > high - low and not math.isclose(value, high - low)]
    if not outside and not wide:
        return
    what = f"mean {outside[0]:g} lies outside" if outside else f"std {wide[0]:g} is wider than"
    in_bytes = low == 0 and high == 1 and min(mean) >= 0 and 1 < max(*mean, *std) <= 255
    remedy = "divide them by 255, or say that the network takes bytes with --input-range 0:255"
    raise UserError(
        f"{what} the input range {low:g} to {high:g}, although mean and std are in its units: "
        f"{remedy if in_bytes else 'say which range the network takes with --input-range LO:HI'}"
    )
