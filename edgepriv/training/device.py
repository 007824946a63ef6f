"""Where tensors are computed. Batches, noise and random starts are drawn on the processor: every device sees the same."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgepriv.errors import UserError

PROCESSOR = torch.device("cpu")
KINDS = ("auto", "cpu", "cuda", "cuda:N", "mps")


def device_of(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: "auto" (a CUDA GPU where torch finds one, else the processor), "cpu", "cuda", "cuda:N" or "mps".

    Returns:
        The device.

    Raises:
        UserError: unknown name, or a device that is not there.
    """
    kind, colon, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise UserError(f"unknown device {name!r}: choose {', '.join(KINDS)}")
    if kind == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else PROCESSOR
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: torch finds no CUDA GPU on this machine; take cpu, or auto")
    if number and int(number) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA GPU(s), counted from 0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: torch finds no Metal GPU on this machine; take cpu, or auto")
    return torch.device(name)


@contextmanager
def placed(module: nn.Module, device: torch.device) -> Iterator[None]:
    """A module on a device while this lasts; then back on the processor.

    Args:
        module: moved in place.
        device: where to.

    Returns:
        A context manager.
    """
    module.to(device)
    try:
        yield
    finally:
        module.to(PROCESSOR)


def multiplies_bfloat16(device: torch.device = PROCESSOR) -> bool:
    """Whether a device has instructions for bfloat16 that torch uses.

    Args:
        device: any.

    Returns:
        True where it gains by them.
    """
    if device.type == "cuda":
        native: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return native
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(torch.backends.mkldnn.is_available() and has_instructions())


def generator_state(device: torch.device) -> Tensor | None:
    """The state of a device's own generator, from which dropout draws.

    Args:
        device: any.

    Returns:
        uint8; None for the processor, whose generator is torch's.
    """
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def set_generator_state(device: torch.device, state: Tensor | None) -> None:
    """Go on from what ``generator_state`` returned; nothing where a run has moved to another kind of device.

    Args:
        device: any.
        state: of its generator, or None.
    """
    if state is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif state is not None and device.type == "mps":
        torch.mps.set_rng_state(state)
