"""Public weights that training starts from: which tensors of a file a network takes, and which it starts anew.

As timm and Hugging Face do it: what has the network's names and shapes is taken, a head of another size is new, and a first
convolution of other channels is made of the file's.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgepriv.errors import UserError
from edgepriv.files import sha256_of
from edgepriv.models.containers import dense, dictionaries, tensors_in
from edgepriv.models.lsq_steps import is_step
from edgepriv.models.reading import load_tensors
from edgepriv.models.tensor_names import is_averaged, is_counter, renamed, some, unwrapped_name
from edgepriv.recipe import Model, Recipe, Start, parse

_PREFIXES = 3
_UNRELATED = 0.05
"""Cosine of two sets of weights below which one was hardly fine-tuned from the other: of independent ones it is near 0."""


@dataclass(frozen=True)
class Taken:
    """``state``: tensors of a file under a network's own names, in its dtypes. ``fresh``: names of the network's other
    tensors, with what the file has instead. ``notes``: sentences on how they were found. ``fed``: how the file's network is
    fed, None where it does not say."""

    state: dict[str, Tensor]
    fresh: dict[str, str]
    notes: tuple[str, ...] = ()
    fed: Model | None = None

    def summary(self, file: str) -> str:
        """What was taken and what was not.

        Args:
            file: its name.

        Returns:
            A sentence.
        """
        known = sum(not is_counter(name) for name in self.state)
        count = known + len(self.fresh)
        anew = [f"{name}{why}" for name, why in self.fresh.items()]
        rest = f"; new: {some(anew)}" if anew else ""
        recognised = f" ({'; '.join(self.notes)})" if self.notes else ""
        return f"{file}: {known} of the network's {count} tensors are taken from it{recognised}{rest}"


def identified(recipe: Recipe) -> Recipe:
    """A recipe that knows which file its public weights are.

    Args:
        recipe: with ``start.path``, or without.

    Returns:
        With the file's name and hash; as it is without a path.

    Raises:
        UserError: where there is no such file, or it is another than the recipe names.
    """
    start = recipe.start
    if start.path is None:
        return recipe
    path = Path(start.path)
    if not path.is_file():
        raise UserError(f"--start-weights: no such file: {path}")
    digest = sha256_of(path)
    if start.sha256 is not None and start.sha256 != digest:
        raise UserError(
            f"--start-weights {path} is not the file that the model was trained from: that was {start.file} with sha256 "
            f"{start.sha256[:12]}..., this one has {digest[:12]}..."
        )
    return recipe.with_changes(start={"file": start.file or path.name, "sha256": digest})


def refuse_absent(start: Start) -> None:
    """Refuse to start from public weights that are not at hand.

    Args:
        start: of a recipe.

    Raises:
        UserError: where the recipe names a file, and nobody says where it is.
    """
    if start.active and start.path is None:
        raise UserError(
            f"this model was trained from the public weights {start.file} (sha256 {(start.sha256 or '')[:12]}...), and so must "
            "models be that it is compared with: name that file with --start-weights"
        )


def start_from(network: nn.Module, start: Start, model: str) -> Taken:
    """Load what a network takes of public weights.

    Args:
        network: changed in place.
        start: of a recipe.
        model: name of the network, for messages.

    Returns:
        What was taken.

    Raises:
        UserError: for a file that is not at hand, that has changed, and of which nothing fits.
    """
    refuse_absent(start)
    assert start.path is not None
    content = _content(start.path, start.sha256)
    taken = taken_by(network, content, model, start.path)
    _refuse_other_norm(network, taken, content, start.path)
    network.load_state_dict(taken.state, strict=False)
    return taken


def _refuse_other_norm(network: nn.Module, taken: Taken, content: Mapping[Any, Any], where: str) -> None:
    """Weights that were trained with batch normalization rely on its statistics, which group normalization does not have."""
    statistics = {
        name.removesuffix(".running_mean")
        for _, tensors in dictionaries(content)
        for name in tensors
        if name.endswith(".running_mean")
    }
    for name, module in network.named_modules():
        own = any(f".{layer}".endswith(f".{name}") or f".{name}".endswith(f".{layer}") for layer in statistics)
        if isinstance(module, nn.GroupNorm) and f"{name}.weight" in taken.state and own:
            raise UserError(
                f"--start-weights {where} was trained with batch normalization, and its weights rely on that: group "
                f"normalization cannot take its place at {name} now; leave out --norm group, and freeze these layers "
                "(--freeze, --train-last)"
            )


@lru_cache(maxsize=1)
def _content(path: str, sha256: str | None) -> dict[str, Any]:
    """What the file holds; read once for each process."""
    if not Path(path).is_file():
        raise UserError(f"--start-weights: no such file: {path} (it must be there on every machine that trains)")
    if sha256 is not None and sha256_of(Path(path)) != sha256:
        raise UserError(f"--start-weights {path} has changed since the command began: run it again")
    return load_tensors(Path(path))


def taken_by(network: nn.Module, content: Mapping[Any, Any], model: str, where: str) -> Taken:
    """Which tensors of a file are a network's: those with its names, whatever stands before them, and its shapes.

    Args:
        network: any.
        content: what the file holds.
        model: name of the network, for messages.
        where: name of the file, for messages.

    Returns:
        What it takes.

    Raises:
        UserError: where no weight fits, or several sets of weights fit equally well.
    """
    wanted = {name: value for name, value in network.state_dict().items() if not is_step(name)}
    first = next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)
    readings = sorted(
        (own for place, tensors in dictionaries(content) for own in _readings(place, tensors, wanted, first)),
        key=lambda own: (-own.numbers, own.averaged),
    )
    if not readings or not any(value.ndim > 1 for value in readings[0].state.values()):
        raise UserError(
            f"--start-weights {where}: none of its weights has the names and shapes of model {model!r}"
            f"{_names_of(content, wanted)}"
        )
    best = readings[0]
    for other in readings[1:]:
        if other.numbers == best.numbers and other.averaged == best.averaged and not _equal(best.state, other.state):
            raise UserError(
                f"--start-weights {where} holds several sets of weights that fit: {best.place or 'the state_dict'} and "
                f"{other.place or 'the state_dict'}; save the one that you mean in a file of its own"
            )
    fresh = {name: best.instead.get(name, "") for name in wanted if name not in best.state and not is_counter(name)}
    tied = {value.data_ptr() for name, value in wanted.items() if name in best.state and value.numel()}
    fresh = {name: why for name, why in fresh.items() if wanted[name].data_ptr() not in tied}
    return Taken(best.state, fresh, best.notes, _fed(content))


def _fed(content: Mapping[Any, Any]) -> Model | None:
    """How the network of a checkpoint of edgepriv's is fed."""
    recipe = content.get("recipe")
    if "format_version" not in content or not isinstance(recipe, Mapping):
        return None
    return parse(dict(recipe), "the checkpoint").model


@dataclass(frozen=True)
class _Reading:
    """One dictionary of tensors under one prefix. ``instead``: of tensors that do not fit, what the file has."""

    place: str
    state: dict[str, Tensor]
    instead: dict[str, str]
    notes: tuple[str, ...]
    averaged: bool

    @property
    def numbers(self) -> int:
        return sum(value.numel() for value in self.state.values())


def _readings(
    place: str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], first: str | None
) -> Iterator[_Reading]:
    plain = {renamed(unwrapped_name(name), wanted): value for name, value in tensors.items()}
    named = tensors if len(plain) != len(tensors) else plain
    for strip, add in _prefixes(named, wanted):
        own = {add + name.removeprefix(strip): value for name, value in named.items() if name.startswith(strip)}
        state, instead, notes = {}, {}, [f"read {place}"] if place else []
        notes += [f"without the prefix {strip}"] if strip else []
        notes += [f"under the prefix {add}"] if add else []
        for name, like in wanted.items():
            value = own.get(name)
            if value is None or not _usable(value, like):
                continue
            if value.shape == like.shape:
                state[name] = dense(value).detach().to(like.dtype).clone()
            elif name == f"{first}.weight" and _other_channels(value, like):
                state[name] = _adapted(dense(value).detach().to(like.dtype), like.shape[1])
                notes.append(f"{name} made of {value.shape[1]} channels for {like.shape[1]}")
            else:
                instead[name] = f" ({list(like.shape)}, the file has {list(value.shape)})"
        yield _Reading(place, state, instead, tuple(notes), is_averaged(f"{place}.{strip}", tensors))


def _prefixes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """(what to take off the file's names, what to put before them), the likeliest; nothing to do is always among them."""
    strip, add = Counter[str](), Counter[str]()
    for name in tensors:
        strip.update(name[: -len(rest)] for rest in _endings(name) if rest in wanted)
    for name in wanted:
        add.update(name[: -len(rest)] for rest in _endings(name) if rest in tensors)
    return [
        ("", ""),
        *((prefix, "") for prefix, _ in strip.most_common(_PREFIXES)),
        *(("", prefix) for prefix, _ in add.most_common(_PREFIXES)),
    ]


def _endings(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts) - 1)]


def _usable(value: Tensor, like: Tensor) -> bool:
    if value.is_quantized or value.is_meta or value.is_complex():
        return False
    return value.is_floating_point() == like.is_floating_point()


def _other_channels(value: Tensor, like: Tensor) -> bool:
    return value.ndim == like.ndim == 4 and value.shape[0] == like.shape[0] and value.shape[2:] == like.shape[2:]


def _adapted(weight: Tensor, channels: int) -> Tensor:
    """A first convolution for another number of channels, as timm makes it: of one channel the sum, of more the same channels
    again, scaled so that answers keep their size."""
    if channels == 1:
        return weight.sum(1, keepdim=True)
    have = weight.shape[1]
    return weight.repeat(1, -(-channels // have), 1, 1)[:, :channels] * (have / channels)


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _names_of(content: Mapping[Any, Any], wanted: Mapping[str, Tensor]) -> str:
    own = tensors_in(content).state
    if not own:
        return ""
    return f": it holds {some(list(own))}, the network {some(list(wanted))}"


def held_in(state: Mapping[str, Tensor], taken: Taken, layers: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The layers that whoever trained a network kept as public weights have them, to the bit.

    Args:
        state: of the trained network, by name.
        taken: of the public weights.
        layers: name -> names of parameters.

    Returns:
        Their names; of the network's own parameters, and of those beside which a layer holds others, the parameters' names.
    """
    kept: list[str] = []
    for layer, names in layers.items():
        inside = layer and any(other.startswith(f"{layer}.") for other in layers)  # whose names its own would stand for
        beside = [name for name in state if layer and name.rpartition(".")[0] == layer and not is_counter(name)]
        own = {*names, *beside}
        if all(name in taken.state and name in state and torch.equal(state[name], taken.state[name]) for name in own):
            kept += [layer] if layer and not inside else sorted(names)
    return tuple(kept)


def is_unrelated(state: Mapping[str, Tensor], taken: Taken) -> bool:
    """Whether trained weights look as if they had not started from public ones.

    Args:
        state: of the trained network, by name.
        taken: of the public weights.

    Returns:
        True where the cosine of the two is near 0.
    """
    pairs = [
        (state[name].flatten().double(), own.flatten().double()) for name, own in taken.state.items() if own.ndim > 1
    ]
    one, other = (torch.cat(each) for each in zip(*pairs, strict=True))
    return abs(float(nn.functional.cosine_similarity(one, other, dim=0))) < _UNRELATED
