"""How a bare state_dict's network is fed: stated by its owner and checked by accuracy, never invented."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binom

from edgepriv.accuracy import NEAR, Answers, Asked, collapse
from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, Classifier
from edgepriv.models.cost import affordable
from edgepriv.models.normalisation import IMAGE_DEFAULT, in_unit_range
from edgepriv.recipe import Model

COMPARED = 1_000
"""Members that the likely answers are compared on."""
SHOWN = 4
CLEARLY, SIGNIFICANT = 5.0, 0.01
"""Points by which another answer must beat the stated one before it is believed more, and that by chance this rarely; an
answer that is significantly better by fewer points is remarked on."""
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MANY = 8  # numbers beyond which a line is no line to paste


@dataclass(frozen=True)
class Way:
    """One way to feed the network. ``options``: what states it; ``meaning``: in words; ``model``: in the recipe's terms."""

    options: str
    meaning: str
    model: Model


def refuse_unlike(path: Path, checkpoint: Checkpoint, dataset: Dataset, split: Split, *, accept: bool) -> list[str]:
    """Refuse a bare state_dict whose owner does not say how it is fed, or that does not know its members when it is fed so.

    Args:
        path: its file, for messages.
        checkpoint: the network, with the recipe that states ``mean``, ``std`` and ``input_range``.
        dataset: what it was trained on.
        split: who is a member; of members and of others, as many are asked as ``affordable`` says.
        accept: whether a network that does not know its members is used all the same, with a warning.

    Returns:
        Warnings; also where it answers more members right when it is fed otherwise, by too little to refuse it.

    Raises:
        UserError: where mean or std is not stated, or the network does not know its members; with the likely answers and the
            accuracy of each.
    """
    network = checkpoint.classifier().network
    most = affordable(network, dataset.inputs(split.members[:2]))
    drawn = np.random.default_rng([split.seed, 6])
    stated = checkpoint.recipe.model
    members = np.sort(drawn.permutation(split.members)[: min(most, COMPARED)])
    known = [(way, _answers(network, way.model, dataset, members)) for way in _likely(stated, dataset, members)]
    known.sort(key=lambda pair: -pair[1].right.mean())
    if stated.mean is None or stated.std is None:
        raise UserError(
            f"{path} is a bare state_dict, and --mean and --std do not say how its network is fed: state what it was trained "
            f"with. Right on {len(members)} members {_listed(known)}"
        )
    inside, outside = (
        _answers(network, stated, dataset, np.sort(drawn.permutation(index)[:most]))
        for index in (split.members, split.non_members)
    )
    wrong = collapse(Asked(inside, outside), dataset.class_names, margin=NEAR)
    own = _answers(network, stated, dataset, members)
    rival = known[0][1] if _more(known[0][1], own) else None
    if wrong is None and rival is not None and 100 * (rival.right.mean() - own.right.mean()) > CLEARLY:
        wrong = f"is right on {own.right.mean():.1%} of {len(members)} members, fewer than when it is fed otherwise"
    if wrong is not None and not accept:
        raise UserError(
            f"{path.name}, fed as stated, {wrong}. Right are {_listed(known)}. If these values are right, --model or the data "
            "are not the network's; --accept-accuracy-loss goes on anyway"
        )
    if wrong is not None:
        return [f"{path.name}, fed as stated, {wrong} (accepted by --accept-accuracy-loss)"]
    if rival is None:
        return []
    return [
        f"{path.name}, fed as stated, is right on {own.right.mean():.1%} of {len(members)} members, and on more of them, "
        f"{_listed(known[:1])}: check these values"
    ]


def _listed(known: Sequence[tuple[Way, Answers]]) -> str:
    shown = "; ".join(
        f"{answers.right.mean():.1%} with {way.options} ({way.meaning})" for way, answers in known[:SHOWN]
    )
    if all(answers.better(NEAR) != "yes" for _, answers in known):
        largest = known[0][1]
        shown += (
            f"; none beats the largest class ({largest.share_of(largest.largest):.1%}): --model, the order of the classes or "
            "the data may not be the network's"
        )
    return shown


def _more(other: Answers, own: Answers) -> bool:
    """Whether one has more right than the other, by the sign test."""
    won, lost = int((other.right & ~own.right).sum()), int((~other.right & own.right).sum())
    return bool(binom.sf(won - 1, won + lost, 0.5) < SIGNIFICANT)


def _likely(stated: Model, dataset: Dataset, members: np.ndarray) -> Iterator[Way]:
    """The ways in which networks are usually fed, each once, without the stated one."""
    shape = dataset.input_shape
    seen = {in_unit_range(stated, shape)} if stated.mean is not None and stated.std is not None else set()
    for options, meaning, fed in _usual(stated, dataset, members):
        model = stated.model_copy(update={"input_range": (0.0, 1.0)} | fed)
        effective = in_unit_range(model, shape)
        if effective not in seen:
            seen.add(effective)
            yield Way(options, meaning, model)


def _usual(
    stated: Model, dataset: Dataset, members: np.ndarray
) -> Iterator[tuple[str, str, dict[str, tuple[float, ...]]]]:
    image = len(dataset.input_shape) == 3
    yield _way("inputs in [0, 1], which the network normalises itself or not at all", (0.0,), (1.0,))
    mean, std = _own_statistics(dataset.inputs(members))
    if len(mean) <= _MANY:
        yield _way("the members' own mean and std", mean, std)
    else:
        yield (
            "model.mean and model.std in a recipe",
            "the members' own, one for each feature",
            {"mean": mean, "std": std},
        )
    if not image:
        yield _way("inputs in [-1, 1]", (0.5,), (0.5,))
        return
    if dataset.input_shape[0] == 3:
        yield _way("ImageNet's", *_IMAGENET)
    yield _way("inputs in [-1, 1]", (0.5,), (0.5,))
    yield _way("inputs in [-2, 2], edgepriv's own", IMAGE_DEFAULT[:1], IMAGE_DEFAULT[1:])
    yield _way("bytes", (0.0,), (1.0,), (0.0, 255.0))
    if stated.input_range not in ((0.0, 1.0), (0.0, 255.0)):
        yield _way("the range as it is", (0.0,), (1.0,), stated.input_range)


def _way(
    meaning: str, mean: tuple[float, ...], std: tuple[float, ...], input_range: tuple[float, float] = (0.0, 1.0)
) -> tuple[str, str, dict[str, tuple[float, ...]]]:
    written = [",".join(f"{value:.4g}" for value in values) for values in (mean, std)]
    ends = "" if input_range == (0.0, 1.0) else f"--input-range {input_range[0]:g}:{input_range[1]:g} "
    fed: dict[str, tuple[float, ...]] = {"mean": mean, "std": std, "input_range": input_range}
    return f"{ends}--mean {written[0]} --std {written[1]}", meaning, fed


def _own_statistics(inputs: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """By channel or feature, rounded as they would be written down; 1 for what never varies."""
    axes = (0, *range(2, inputs.ndim))
    mean, std = (values.astype(np.float64) for values in (inputs.mean(axis=axes), inputs.std(axis=axes)))
    std = np.where(std > 1e-6, std, 1.0)
    return tuple(float(f"{value:.4g}") for value in mean), tuple(float(f"{value:.4g}") for value in std)


def _answers(network: torch.nn.Module, model: Model, dataset: Dataset, index: np.ndarray) -> Answers:
    fed = in_unit_range(model, dataset.input_shape)
    classifier = Classifier(network, *fed, alone=model.batch_dependent).eval()
    with torch.no_grad():
        labels = [
            classifier(torch.from_numpy(dataset.inputs(part))).float().argmax(1).numpy()
            for part in np.split(index, range(256, len(index), 256))
        ]
    return Answers(np.concatenate(labels), dataset.y[index])
