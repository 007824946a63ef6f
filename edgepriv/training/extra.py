"""Extra data in each batch: a share of its members gives way to examples that are drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgepriv.data import Dataset
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences.extra import Extra as Asked
from edgepriv.training.examples import Examples, at_once
from edgepriv.training.generators import Generator


@dataclass(frozen=True, eq=False)
class Extra:
    """``x``: uint8 or float32 [E, ...]; ``y``: int64 [R, E], the labels for each of R models that are trained at once.
    ``share``: of each batch."""

    x: Tensor
    y: Tensor
    share: float

    def on(self, device: torch.device) -> "Extra":
        """The same on another device.

        Args:
            device: where to.

        Returns:
            The examples there.
        """
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def mixed_into(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """A batch in which extra examples stand in the place of the last ones, which a shuffled pass has put there.

        Args:
            x: float32 [R * B, ...], members.
            y: int64 [R * B], their labels.
            generator: of what is drawn, one for each of R models.

        Returns:
            Inputs and labels of the same shapes; one member of each model's batch stays at least.
        """
        each = (generator,) if isinstance(generator, torch.Generator) else generator.each
        size = len(y) // len(each)
        count = min(round(self.share * size), size - 1)
        x, y = x.clone(), y.clone()
        for position, own in enumerate(each):
            labels = self.y[position if len(self.y) > 1 else 0]
            chosen = torch.randint(len(self.x), (count,), generator=own)
            places = slice((position + 1) * size - count, (position + 1) * size)
            x[places], y[places] = Examples(self.x, labels).batch(chosen)
        return x, y


@torch.no_grad()
def labels_by(classifier: Classifier, x: Tensor) -> Tensor:
    """What a classifier takes examples for.

    Args:
        classifier: on the processor; it is left in the mode that it is in.
        x: uint8 or float32 [E, ...].

    Returns:
        int64 [E].
    """
    training = classifier.training
    classifier.eval()
    some = 1 if classifier.alone else at_once(x[0].numel())
    unlabelled = Examples(x, torch.zeros(len(x), dtype=torch.int64))
    labels = [classifier(unlabelled.batch(index)[0]).argmax(1) for index in torch.arange(len(x)).split(some)]
    classifier.train(training)
    return torch.cat(labels)


def extra_labels(dataset: Dataset, classifiers: Sequence[Classifier]) -> Tensor:
    """The labels of a data set's extra examples: their own, or what each model takes them for.

    Args:
        dataset: with extra examples.
        classifiers: R models as they are before they see them.

    Returns:
        int64 [R, E], or [1, E] where all have the same.
    """
    assert dataset.extra is not None, "extra data of a recipe are opened before its stages run"
    if dataset.extra.y is not None:
        return torch.from_numpy(dataset.extra.y)[None]
    x = torch.from_numpy(dataset.extra.x)
    return torch.stack([labels_by(classifier, x) for classifier in classifiers])


def extra_of(recipe: Recipe, dataset: Dataset, labels: Tensor) -> Extra:
    """What takes a share of each batch.

    Args:
        recipe: that asks for it.
        dataset: with extra examples.
        labels: of ``extra_labels``.

    Returns:
        Inputs, labels and share.
    """
    assert dataset.extra is not None
    return Extra(torch.from_numpy(dataset.extra.x), labels, recipe.own(Asked).share)
