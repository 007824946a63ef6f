"""What a state_dict of a torchvision network does not show: stride and pooling of its stem, decided by accuracy or asked for.

For small images it is customary to change the first layers of such a network, by hand and in several ways, and weights of one
load into another without a word. Its own members tell which it was.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from edgepriv.errors import UserError
from edgepriv.models import zoo
from edgepriv.models.checkpoint import Checkpoint
from edgepriv.models.classifier import Classifier
from edgepriv.models.normalisation import in_unit_range
from edgepriv.recipe import Model

_COMPARED, _NUMBERS = 500, 2**24
"""Members that the stems are compared on, fewer where they have more input numbers than this in all."""
_KNOWN = 0.98
"""Share of the members on which the stem at hand is right that leaves nothing to look for."""
_FIRST = 64
"""Members that every stem is asked about at first."""
_SIGNIFICANT, _HOPELESS = 0.01, 1e-4
"""Levels of the last comparison, and of those on fewer members that leave a stem out."""
_SHAPES: tuple[dict[str, Any], ...] = ({}, {"stem": "plain"}, {"stem": "small"}, {"stem_kernel": 5})
"""Arguments that give the stem other shapes, ours first: these a state_dict does show."""
_USUAL_FEEDS = ((None, None), ((0.0,), (1.0,)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
"""Means and standard deviations that are tried where none are stated."""


def compared(input_shape: tuple[int, ...]) -> int:
    """How many members stems are compared on.

    Args:
        input_shape: of one example.

    Returns:
        100 or more; fewer for larger inputs.
    """
    return min(_COMPARED, max(100, _NUMBERS // math.prod(input_shape)))


def read_with_its_stem(read: Callable[[Model], Checkpoint], model: Model, x: Tensor, y: Tensor) -> Checkpoint:
    """Weights from elsewhere, read with the stem that is right on most examples.

    Only for torchvision's networks, and only where the model's arguments do not state the stem.

    Args:
        read: a model -> the checkpoint that the weights make as that.
        model: that was asked for.
        x: float32 [n, ...] in [0, 1], which the network was trained on.
        y: int64 [n], the labels.

    Returns:
        The checkpoint.

    Raises:
        UserError: with every stem's accuracy when none is clearly the best and they answer differently, and what ``read``
            raises when nothing fits.
    """
    if model.name not in zoo.names() or zoo.STEM & model.args.keys():
        return read(model)
    fitting = _first_that_fits(read, model)
    own = _Stem(fitting, x.shape[1])
    own.ask(x[:_FIRST], y[:_FIRST])
    if own.accuracy >= _KNOWN:
        return fitting
    known = [own, *(_Stem(other, x.shape[1]) for other in _variants(fitting))]
    if len(known) == 1:
        return fitting
    left = _race(known, x, y)
    known.sort(key=lambda one: (-len(one.right), -one.accuracy))
    best = left[0]
    equal = [one for one in left if one is best or not _clearly_better(best.right, one.right, _SIGNIFICANT)]
    if own in equal and _alike([one.labels for one in equal]):
        return fitting
    listed = "; ".join(f"{one.accuracy:.1%}{_of(one, best)} with {_describe(one.checkpoint)}" for one in known)
    if len(equal) > 1:
        arguments = best.checkpoint.recipe.model.args
        options = " ".join(f"--model-arg {name}={_written(value)}" for name, value in arguments.items())
        raise UserError(
            f"these weights fit model {model.name!r} with {len(known)} stems that a state_dict does not tell apart, and none "
            f"is clearly right on {len(best.right)} members: {listed}. Say which it is, such as {options}, or check --mean "
            "and --std"
        )
    if best is own:
        return fitting
    note = f"its stem is {_describe(best.checkpoint)}, by accuracy on {len(best.right)} members: {listed}"
    return replace(best.checkpoint, notes=(*best.checkpoint.notes, note))


class _Stem:
    """A network with one stem, and what it answers. Where it is not stated how it is fed, the usual ways that are not clearly
    worse than another are all asked, and the best of them counts."""

    def __init__(self, checkpoint: Checkpoint, channels: int) -> None:
        self.checkpoint = checkpoint
        model = checkpoint.recipe.model
        stated = model.mean is not None and model.std is not None
        feeds = [(model.mean, model.std)] if stated else _USUAL_FEEDS
        nothing = torch.zeros(0, dtype=torch.int64)
        self._asked = [
            (model.model_copy(update={"mean": mean, "std": std}), nothing)
            for mean, std in feeds
            if len(mean or (0,)) in (1, channels)
        ]
        self._truth = nothing

    @property
    def labels(self) -> Tensor:
        """int64 [n], of the inputs asked so far."""
        return max((labels for _, labels in self._asked), key=lambda labels: int((labels == self._truth).sum()))

    @property
    def right(self) -> Tensor:
        """bool [n]."""
        return self.labels == self._truth

    @property
    def accuracy(self) -> float:
        """On the inputs asked so far."""
        return float(self.right.float().mean())

    @torch.no_grad()
    def ask(self, x: Tensor, y: Tensor) -> None:
        """Some more inputs; ways of feeding that turn out clearly worse are not asked again."""
        network = self.checkpoint.classifier().network
        answered = []
        for fed, before in self._asked:
            classifier = Classifier(network, *in_unit_range(fed, tuple(x.shape[1:]))).eval()
            answered.append((fed, torch.cat([before, *(classifier(part).argmax(1) for part in x.split(64))])))
        self._asked, self._truth = answered, torch.cat([self._truth, y])
        best = self.right
        self._asked = [pair for pair in answered if not _clearly_better(best, pair[1] == self._truth, _HOPELESS)]


def _race(stems: list[_Stem], x: Tensor, y: Tensor) -> list[_Stem]:
    """Ask more and more inputs of those that are not clearly worse than the best, until one is left: those that are left,
    the best first, all asked about equally many."""
    asked, left = 0, stems
    while len(left) > 1 and asked < len(x):
        until = min(len(x), 2 * asked or _FIRST)
        for stem in left:
            done = len(stem.right)
            if done < until:
                stem.ask(x[done:until], y[done:until])
        asked = until
        left = sorted(left, key=lambda stem: -stem.accuracy)
        left = [stem for stem in left if not _clearly_better(left[0].right, stem.right, _HOPELESS)]
    return left


def _first_that_fits(read: Callable[[Model], Checkpoint], model: Model) -> Checkpoint:
    refused: UserError | None = None
    for shape in _SHAPES:
        try:
            return read(_with(model, shape))
        except UserError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _variants(checkpoint: Checkpoint) -> Iterator[Checkpoint]:
    """``checkpoint`` with each other stem whose tensors have the same shapes."""
    network = checkpoint.classifier().network
    own = zoo.stem_of(network)
    if own is None:
        return
    for stride, pool in itertools.product((1, 2), (True, False) if own.can_pool else (own.pool,)):
        if (stride, pool) == (own.stride, own.pool):
            continue
        settings: dict[str, Any] = {"stem_kernel": own.kernel, "stem_stride": stride}
        if own.can_pool:
            settings["stem_pool"] = pool
        model = _with(checkpoint.recipe.model, settings)
        candidate = replace(checkpoint, recipe=checkpoint.recipe.model_copy(update={"model": model}))
        try:
            candidate.classifier()
        except UserError:
            continue  # images too small for it
        yield candidate


def _with(model: Model, settings: dict[str, Any]) -> Model:
    kept = {name: value for name, value in model.args.items() if name not in zoo.STEM}
    return model.model_copy(update={"args": kept | settings})


def _clearly_better(right: Tensor, other: Tensor, level: float) -> bool:
    """By the sign test on the members that only one of the two has right, at a level of significance."""
    won, lost = int((right & ~other).sum()), int((other & ~right).sum())
    return won + lost > 0 and bool(binomtest(won, won + lost, alternative="greater").pvalue < level)


def _alike(answers: list[Tensor]) -> bool:
    return all(bool((other == answers[0]).all()) for other in answers)


def _of(one: _Stem, best: _Stem) -> str:
    return "" if len(one.right) == len(best.right) else f" of {len(one.right)}"


def _describe(checkpoint: Checkpoint) -> str:
    own = zoo.stem_of(checkpoint.classifier().network)
    assert own is not None
    pooled = "" if not own.can_pool else " and max pooling" if own.pool else " and no pooling"
    return f"a first convolution {own.kernel}x{own.kernel} of stride {own.stride}{pooled}"


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
