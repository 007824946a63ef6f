"""Multilayer perceptrons trained many at a time: one matrix product for all models instead of one for each.

A batch holds R models' batches one after another, [R * B, ...]. Every model sees its own examples in its own order and draws
from its own generator, and optimizers act on each number by itself, so each becomes what it would become alone, up to the
rounding of its sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgepriv.models import Classifier
from edgepriv.models.small import MLP
from edgepriv.recipe import Recipe
from edgepriv.training.examples import Examples
from edgepriv.training.grids import quantizer_of


class StackedLinear(nn.Module):
    """R linear layers, from [R, in, B] to [R, out, B]. ``weight``: [R, out, in]; ``bias``: [R, out]."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        # Examples stand last: the gradient of ``weight`` then needs no transposition.
        return torch.baddbmm(self.bias.unsqueeze(2), self.weight, x)


class StackedMLP(nn.Module):
    """R perceptrons of equal widths, with the parameter names of one: [R * B, ...] -> logits [R * B, K]."""

    def __init__(self, networks: Sequence[MLP]) -> None:
        super().__init__()
        self.models = len(networks)
        self.widest = max(weight.numel() for weight in networks[0].parameters())  # numbers in one model's largest layer
        self.layers = nn.ModuleList(
            StackedLinear(layers) for layers in zip(*(network.layers for network in networks), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(self.models, len(x) // self.models, -1).transpose(1, 2)
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x).transpose(1, 2).flatten(0, 1)


class Stack(Classifier):
    """R classifiers as one, with their common normalisation."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        first = classifiers[0]
        networks = [classifier.network for classifier in classifiers]
        super().__init__(StackedMLP(networks), first.mean.tolist(), first.std.tolist())  # type: ignore[arg-type]

    def copy_to(self, classifiers: Sequence[Classifier]) -> None:
        """Overwrite the weights of R classifiers, in place."""
        for classifier, weights in zip(classifiers, snapshots(self), strict=True):
            classifier.network.load_state_dict(weights)


@dataclass(frozen=True)
class StackedExamples(Examples):
    """Examples of R models; ``rows``: int64 [R, n], those of each in ``x``, ``y`` and ``teacher``. ``len`` is n."""

    rows: Tensor = field(kw_only=True)

    def __len__(self) -> int:
        return self.rows.shape[1]

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """[R * B, ...] and [R * B] for int64 ``index`` [R, B], or [B] for the same positions in every model's rows."""
        return super().batch(self._at(index))

    def taught(self, index: Tensor) -> Tensor | None:
        """The teachers' log-probabilities [R * B, K], each model's own."""
        return super().taught(self._at(index))

    def _at(self, index: Tensor) -> Tensor:
        rows = self.rows.gather(1, index) if index.ndim == 2 else self.rows[:, index]
        return rows.flatten()


def stackable(recipe: Recipe, input_shape: tuple[int, ...]) -> bool:
    """Whether models trained by ``recipe`` may be stacked. Flattening, augmentation and dropout draw for one model;
    quantized activations have the range of one model's batch, learned steps stand beside the layers of one; differential
    privacy clips the examples of one."""
    plain = all(
        stage.flatten == 0 and (stage.augment == "none" or len(input_shape) == 1) for stage in recipe.stages().values()
    )
    quantizer = quantizer_of(recipe.quantize)
    of_one = recipe.quantize.active and (quantizer.activations or quantizer.learned)
    one_by_one = recipe.dp.active or of_one or recipe.model.dropout > 0
    return plain and not one_by_one and recipe.model.name == "mlp" and recipe.precision != "bfloat16"


def models_in(classifier: Classifier) -> int:
    """R of a stack, 1 of any other classifier."""
    return classifier.network.models if isinstance(classifier.network, StackedMLP) else 1


def snapshots(classifier: Classifier) -> list[dict[str, Tensor]]:
    """The network's weights and buffers by name, as they are now, for each model; views, not copies."""
    state = classifier.network.state_dict()
    if not isinstance(classifier.network, StackedMLP):
        return [state]
    return [{name: value[r] for name, value in state.items()} for r in range(models_in(classifier))]


@torch.no_grad()
def restore(classifier: Classifier, weights: Sequence[dict[str, Tensor]]) -> None:
    """Overwrite, in place, what ``snapshots`` showed."""
    for present, wanted in zip(snapshots(classifier), weights, strict=True):
        for name, value in wanted.items():
            present[name].copy_(value)
