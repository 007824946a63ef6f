"""Where in a file of tensors the network's own are: containers, prefixes, dtypes.

Training code wraps a state_dict in a dictionary of its own, in a module (DataParallel, torch.compile, a Lightning module, an
averaged model), or both. Here the names of the network that is asked for decide: what fits them is read, whatever stands
around it, and what was recognised is told in ``notes``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgepriv.errors import UserError
from edgepriv.models.fitting import Candidate, misfit
from edgepriv.models.lsq_steps import is_step
from edgepriv.models.tensor_names import WRAPPERS, State, is_counter, renamed, some, unwrapped_name

_DEPTH = 6


@dataclass(frozen=True)
class NamedTensors:
    """Tensors under the network's own names, and sentences about how they were found; none for a plain state_dict."""

    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def state_for(content: Mapping[Any, Any], wanted: Sequence[State], model: str, where: str) -> NamedTensors:
    """The tensors in a file's content that are the network's, as the dtypes that it has.

    Args:
        content: what the file holds.
        wanted: the state_dicts that the network can load, by name (several where it can be loaded in several forms).
        model: name of the network, for sentences.
        where: name of the file, for sentences.

    Returns:
        The tensors under the network's own names, and what there is to say of how they were found.

    Raises:
        UserError: when nothing fits, when different weights fit equally well, or when tensors are of a kind that cannot become
            the network's.
    """
    candidates = [own for names in wanted for own in _candidates(content, names)]
    if not candidates:
        raise UserError(f"{where} holds no state_dict: expected a dictionary of tensors")
    fitting = [own for own in candidates if own.fits]
    if not fitting:
        raise UserError(f"{where}: {misfit(min(candidates, key=lambda own: own.misfits), model)}")
    chosen, notes = _chosen(fitting, where)
    state, converted = _converted(chosen, where)
    return NamedTensors(state, tuple([*notes, *_left_out(chosen), *converted]))


def tensors_in(content: Mapping[Any, Any]) -> NamedTensors:
    """The largest dictionary of tensors in a file's content.

    Args:
        content: what the file holds.

    Returns:
        The tensors, without the names of wrappers that all of their own begin with, and what was left out; empty where
        there are none.
    """
    inside = list(dictionaries(content))
    if not inside:
        return NamedTensors({})
    container, tensors = max(inside, key=lambda entry: len(entry[1]))
    prefix = ""
    while True:
        first = next(
            (w for w in WRAPPERS if all(n[len(prefix) :].startswith(f"{w}.") or is_counter(n) for n in tensors)), None
        )
        if first is None or not any(name[len(prefix) :].startswith(f"{first}.") for name in tensors):
            break
        prefix += f"{first}."
    place = (f"read {container}",) if container else ()
    others = tuple(f"also holds {name}" for name, _ in inside if name != container and "optim" not in name)
    state = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return NamedTensors(state, (*place, *((f"without the prefix {prefix}",) if prefix else ()), *others))


def _candidates(content: Mapping[Any, Any], wanted: State) -> Iterator[Candidate]:
    """Every dictionary of tensors under every prefix that could be the network's; the best readings of names only."""
    anchor = max((name for name in wanted if not is_counter(name)), key=len, default="")
    for container, tensors in dictionaries(content):
        readings = [(tensors, False)]
        plain = {unwrapped_name(name): value for name, value in tensors.items()}
        if len(plain) == len(tensors) and plain.keys() != tensors.keys():
            readings.append((plain, True))
        for names, unwrapped in list(readings):
            others = {renamed(name, wanted): value for name, value in names.items()}
            if others.keys() != names.keys():
                readings.append((others, unwrapped))
        seen = False
        for names, unwrapped in readings:
            prefixes = {name[: -len(anchor)] for name in names if anchor and name.endswith(anchor)}
            for prefix in sorted(prefix for prefix in prefixes if not prefix or prefix.endswith(".")):
                own = Candidate(container, prefix, names, unwrapped, wanted)
                yield own
                seen = seen or own.fits
            if seen:
                break
        yield Candidate(container, "", tensors, False, wanted)


def dictionaries(content: Mapping[Any, Any], container: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """The dictionaries of tensors in a file's content, at any depth.

    Args:
        content: what the file holds.
        container: the keys on the way to it, joined by dots.
        depth: how many these are.

    Yields:
        Where each is, and its tensors by name.
    """
    own = {name: _tensor(value) for name, value in content.items() if isinstance(name, str) and _is_tensor(value)}
    if own:
        yield container, own
    if depth == _DEPTH:
        return
    for key, value in content.items():
        inner = by_place(value) if isinstance(value, list | tuple) else value
        if isinstance(key, str | int) and isinstance(inner, Mapping):
            yield from dictionaries(inner, f"{container}.{key}" if container else str(key), depth + 1)


def by_place(values: Sequence[Any]) -> dict[int, Any]:
    """The dictionaries and lists in a list.

    Args:
        values: anything.

    Returns:
        By their place in it from 0; everything else is left out.
    """
    return {place: value for place, value in enumerate(values) if isinstance(value, Mapping | list | tuple)}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub")


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.from_numpy(value)


def _chosen(fitting: Sequence[Candidate], where: str) -> tuple[Candidate, list[str]]:
    """The weights themselves rather than their average, which is named where it differs."""
    plain = [own for own in fitting if not own.averaged] or list(fitting)
    first, *others = plain
    apart = [own for own in others if not _equal(first, own)]
    if apart:
        titles = dict.fromkeys(own.title for own in [first, *apart])
        raise UserError(
            f"{where} holds several sets of weights that fit: {', '.join(titles)}; save the one that you mean in a file of its "
            "own"
        )
    notes = []
    if first.container or first.prefix or first.unwrapped:
        averaged = "averaged weights, " if first.averaged else ""
        inner = ", names without those of their wrappers" if first.unwrapped else ""
        notes.append(f"read {averaged}{first.title}{inner}")
    average = next((own for own in fitting if own.averaged and not first.averaged and not _equal(first, own)), None)
    if average is not None:
        notes.append(
            f"the averaged weights in {average.title} differ and were not taken: save them by themselves to use them"
        )
    return first, notes


def _equal(one: Candidate, other: Candidate) -> bool:
    if one.wanted.keys() != other.wanted.keys():
        return False
    pairs = ((one.tensor(name), other.tensor(name)) for name in one.wanted if not is_counter(name))
    return all(a is b or (a is not None and b is not None and _same(a, b)) for a, b in pairs)


def _same(one: Tensor, other: Tensor) -> bool:
    known = not (one.is_meta or other.is_meta or one.is_quantized or other.is_quantized)
    return known and one.shape == other.shape and torch.equal(dense(one), dense(other))


def _left_out(chosen: Candidate) -> list[str]:
    outside = [name for name in chosen.tensors if not name.startswith(chosen.prefix) and not is_counter(name)]
    return [f"left out what does not stand under {chosen.prefix}: {some(outside)}"] if outside else []


def _converted(chosen: Candidate, where: str) -> tuple[dict[str, Tensor], list[str]]:
    state: dict[str, Tensor] = {}
    became: dict[str, None] = {}
    for name, like in chosen.wanted.items():
        value = chosen.tensor(name)
        if value is None:  # a counter
            state[name] = torch.zeros_like(like)
            continue
        if value.is_quantized or value.is_meta:
            kind = f"quantized ({value.dtype})" if value.is_quantized else "empty (on the device 'meta')"
            raise UserError(f"{where}: {name} is {kind}: save the state_dict of the float model")
        if like.is_floating_point() and value.ndim and not (value.is_floating_point() or value.is_complex()):
            raise UserError(
                f"{where}: {name} holds {_dtype_name(value.dtype)}, whose scale is not known here: save the "
                "state_dict of the float model"
            )
        if value.is_complex() and not like.is_complex():
            raise UserError(f"{where}: {name} holds complex numbers, and the model has {_dtype_name(like.dtype)} there")
        if value.layout != torch.strided:
            became["sparse weights became dense"] = None
            value = dense(value)
        if value.is_floating_point() and value.dtype != like.dtype:
            became[f"{_dtype_name(value.dtype)} weights became {_dtype_name(like.dtype)}"] = None
        state[name] = value.detach().to(like.dtype).contiguous().clone()
    steps = {name.removeprefix(chosen.prefix): value for name, value in chosen.tensors.items() if is_step(name)}
    return state | steps, list(became)


def dense(value: Tensor) -> Tensor:
    """A tensor in plain form.

    Args:
        value: sparse, or of a narrow float, or neither.

    Returns:
        Dense; float32 where its floats have one byte.
    """
    value = value if value.layout == torch.strided else value.to_dense()
    return value.float() if value.is_floating_point() and value.dtype.itemsize == 1 else value


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
