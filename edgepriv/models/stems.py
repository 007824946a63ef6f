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
_SIGNIFICANT = 0.01
_SHAPES: tuple[dict[str, Any], ...] = ({}, {"stem": "plain"}, {"stem": "small"}, {"stem_kernel": 5})
"""Arguments that give the stem other shapes, ours first: these a state_dict does show."""
_USUAL_FEEDS = ((None, None), ((0.0,), (1.0,)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
"""Means and standard deviations that are tried where none are stated."""


def compared(input_shape: tuple[int, ...]) -> int:
    """How many members stems are compared on."""
    return min(_COMPARED, max(100, _NUMBERS // math.prod(input_shape)))


def read_with_its_stem(read: Callable[[Model], Checkpoint], model: Model, x: Tensor, y: Tensor) -> Checkpoint:
    """What ``read`` makes of weights from elsewhere as ``model``, with the stem that is right on most of ``x`` float32
    [n, ...] in [0, 1], labels ``y`` [n], which the network was trained on.

    Only for torchvision's networks, and only where the model's arguments do not state the stem. Raises UserError with every
    stem's accuracy when none is clearly the best and they answer differently, and what ``read`` raises when nothing fits.
    """
    if model.name not in zoo.names() or zoo.STEM & model.args.keys():
        return read(model)
    found = _first_that_fits(read, model)
    if float((_labels(found, x, y) == y).float().mean()) >= _KNOWN:
        return found
    known = [(own, _labels(own, x, y)) for own in _variants(found)]
    if len(known) == 1:
        return found
    known.sort(key=lambda pair: -int((pair[1] == y).sum()))
    best, labels = known[0]
    equal = [own for own, others in known if not _clearly_better(labels == y, others == y)]
    if found.recipe.model in [own.recipe.model for own in equal] and _alike(
        [others for _, others in known[: len(equal)]]
    ):
        return found
    listed = "; ".join(f"{float((others == y).float().mean()):.1%} with {_words(own)}" for own, others in known)
    if len(equal) > 1:
        options = " ".join(f"--model-arg {name}={_written(value)}" for name, value in best.recipe.model.args.items())
        raise UserError(
            f"these weights fit model {model.name!r} with {len(known)} stems that a state_dict does not tell apart, and none "
            f"is clearly right on {len(x)} members: {listed}. Say which it is, such as {options}, or check --mean and --std"
        )
    if best.recipe.model == found.recipe.model:
        return found
    note = f"its stem is {_words(best)}, by accuracy on {len(x)} members: {listed}"
    return replace(best, notes=(*best.notes, note))


def _first_that_fits(read: Callable[[Model], Checkpoint], model: Model) -> Checkpoint:
    refused: UserError | None = None
    for shape in _SHAPES:
        try:
            return read(_with(model, shape))
        except UserError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _variants(found: Checkpoint) -> Iterator[Checkpoint]:
    """``found`` with each stem whose tensors have the same shapes; itself under whatever arguments it was read with."""
    network = found.classifier().network
    own = zoo.stem_of(network)
    yield found
    if own is None:
        return
    for stride, pool in itertools.product((1, 2), (True, False) if own.can_pool else (own.pool,)):
        if (stride, pool) == (own.stride, own.pool):
            continue
        settings: dict[str, Any] = {"stem_kernel": own.kernel, "stem_stride": stride}
        if own.can_pool:
            settings["stem_pool"] = pool
        model = _with(found.recipe.model, settings)
        candidate = replace(found, recipe=found.recipe.model_copy(update={"model": model}))
        try:
            candidate.classifier()
        except UserError:
            continue  # images too small for it
        yield candidate


def _with(model: Model, settings: dict[str, Any]) -> Model:
    kept = {name: value for name, value in model.args.items() if name not in zoo.STEM}
    return model.model_copy(update={"args": kept | settings})


@torch.no_grad()
def _labels(found: Checkpoint, x: Tensor, y: Tensor) -> Tensor:
    """int64 [n]; where it is not stated how the network is fed, by the usual way that suits it best."""
    model, network = found.recipe.model, found.classifier().network
    stated = model.mean is not None and model.std is not None
    answers = []
    for mean, std in [(model.mean, model.std)] if stated else _USUAL_FEEDS:
        if len(mean or (0,)) not in (1, x.shape[1]):
            continue
        fed = model.model_copy(update={"mean": mean, "std": std})
        classifier = Classifier(network, *in_unit_range(fed, tuple(x.shape[1:]))).eval()
        answers.append(torch.cat([classifier(part).argmax(1) for part in x.split(64)]))
    return max(answers, key=lambda labels: int((labels == y).sum()))


def _clearly_better(right: Tensor, other: Tensor) -> bool:
    """By the sign test on the members that only one of the two has right."""
    won, lost = int((right & ~other).sum()), int((other & ~right).sum())
    return won + lost > 0 and bool(binomtest(won, won + lost, alternative="greater").pvalue < _SIGNIFICANT)


def _alike(answers: list[Tensor]) -> bool:
    return all(bool((other == answers[0]).all()) for other in answers)


def _words(found: Checkpoint) -> str:
    own = zoo.stem_of(found.classifier().network)
    assert own is not None
    pooled = "" if not own.can_pool else " and max pooling" if own.pool else " and no pooling"
    return f"a first convolution {own.kernel}x{own.kernel} of stride {own.stride}{pooled}"


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
