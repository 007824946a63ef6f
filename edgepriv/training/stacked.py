"""Models trained many at a time: one product for all of them instead of one for each.

On a processor this pays for perceptrons, which are batched by hand; on a GPU for every small network (``torch.vmap``).

A batch holds R models' batches one after another, [R * B, ...]. Every model sees its own examples in its own order and draws
from its own generator, and optimizers act on each number by itself, so each becomes what it would become alone, up to the
rounding of its sums.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from edgepriv.models import Classifier
from edgepriv.models.classifier import NAMED
from edgepriv.models.small import MLP
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import acting
from edgepriv.training.examples import Examples
from edgepriv.training.quantizers import quantizer_of


class Stacked(nn.Module):
    """R networks of one architecture as one, with the parameter and buffer names of one, each [R, ...]:
    [R * B, ...] -> logits [R * B, K]."""

    models: int


class StackedLinear(nn.Module):
    """R linear layers, from [R, in, B] to [R, out, B]. ``weight``: [R, out, in]; ``bias``: [R, out]."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        # Examples stand last: the gradient of ``weight`` then needs no transposition.
        """[R, out, B] of inputs [R, in, B]: each model's own."""
        return torch.baddbmm(self.bias.unsqueeze(2), self.weight, x)


class StackedMLP(Stacked):
    """R perceptrons of equal widths."""

    def __init__(self, networks: Sequence[MLP]) -> None:
        super().__init__()
        self.models = len(networks)
        self.widest = max(weight.numel() for weight in networks[0].parameters())  # numbers in one model's largest layer
        self.layers = nn.ModuleList(
            StackedLinear(layers) for layers in zip(*(network.layers for network in networks), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits [R * B, K] of normalised inputs [R * B, ...], one model's after the other's."""
        x = x.reshape(self.models, len(x) // self.models, -1).transpose(1, 2)
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        logits: Tensor = self.layers[-1](x).transpose(1, 2).flatten(0, 1)
        return logits


class StackedNetwork(Stacked):
    """R networks of any architecture that draws nothing at random, batch normalization included."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = len(networks)
        for name, child in copy.deepcopy(networks[0]).named_children():
            self.add_module(name, child)
        parameters, buffers = stack_module_state(list(networks))
        for values, place in ((parameters, "_parameters"), (buffers, "_buffers")):
            for name, value in values.items():
                layer, _, own = name.rpartition(".")
                stacked = nn.Parameter(value.detach()) if place == "_parameters" else value
                getattr(self.get_submodule(layer), place)[own] = stacked
        # In a tuple, so that its weights, which are never read, are not this module's.
        self._one = (copy.deepcopy(networks[0]).to("meta"),)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [R * B, K] of normalised inputs [R * B, ...], one model's after the other's."""
        one = self._one[0]
        for name, module in one.named_modules():
            module.training = self.get_submodule(name).training
        state = dict(self.named_parameters()) | dict(self.named_buffers())
        x = x.reshape(self.models, len(x) // self.models, *x.shape[1:])
        logits: Tensor = torch.vmap(lambda own, batch: functional_call(one, own, (batch,)))(state, x)
        return logits.flatten(0, 1)


class Stack(Classifier):
    """R classifiers as one, with their common normalisation."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        first = classifiers[0]
        networks = [classifier.network for classifier in classifiers]
        perceptrons = [network for network in networks if isinstance(network, MLP)]
        stacked = StackedMLP(perceptrons) if len(perceptrons) == len(networks) else StackedNetwork(networks)
        super().__init__(stacked, first.mean.tolist(), first.std.tolist())

    def copy_to(self, classifiers: Sequence[Classifier]) -> None:
        """Overwrite the weights of R classifiers.

        Args:
            classifiers: changed in place.
        """
        for classifier, weights in zip(classifiers, snapshots(self), strict=True):
            classifier.network.load_state_dict(weights)


@dataclass(frozen=True)
class StackedExamples(Examples):
    """Examples of R models; ``rows``: int64 [R, n], those of each in ``x``, ``y`` and ``teacher``; always on the processor,
    as every index is drawn there. ``len`` is n."""

    rows: Tensor = field(kw_only=True)

    def __len__(self) -> int:
        return self.rows.shape[1]

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Some of each model's examples.

        Args:
            index: int64 [R, B], or [B] for the same positions in every model's rows.

        Returns:
            Inputs [R * B, ...] and labels [R * B].
        """
        return super().batch(self._at(index))

    def taught(self, index: Tensor) -> Tensor | None:
        """What the teachers answer, each model's own.

        Args:
            index: int64 [R, B], or [B].

        Returns:
            Log-probabilities [R * B, K]; None without teachers.
        """
        return super().taught(self._at(index))

    def _at(self, index: Tensor) -> Tensor:
        rows = self.rows.gather(1, index) if index.ndim == 2 else self.rows[:, index]
        return rows.flatten()


def stackable(recipe: Recipe) -> bool:
    """Whether models of a recipe can be stacked.

    Some defences allow only one (see ``Defence.stacked``); quantized activations have the range of one model's batch, learned
    steps stand beside the layers of one; fixed features are computed once for one (see ``training.featured``); a network whose
    answers depend on the batch must not see the examples of others; a foreign network may do anything.

    Args:
        recipe: that they are trained by.

    Returns:
        True if they can.
    """
    quantizer = quantizer_of(recipe.quantize)
    rounding = quantizer.activations or recipe.qat.activations is not None
    of_one = recipe.quantize.active and (rounding or quantizer.learned)
    defended = not all(defence.stacked for defence in acting(recipe))
    one_by_one = of_one or defended or recipe.model.batch_dependent or recipe.model.features != "none"
    return not one_by_one and recipe.model.name in NAMED and recipe.precision != "bfloat16"


def worth_stacking(recipe: Recipe, device: torch.device) -> bool:
    """Whether models that are ``stackable`` train faster so.

    Convolutions of several models keep a GPU busy, on a processor they gain nothing.

    Args:
        recipe: that they are trained by.
        device: where.

    Returns:
        True if they do.
    """
    return device.type != "cpu" or recipe.model.name == "mlp"


def models_in(classifier: Classifier) -> int:
    """How many models a classifier holds.

    Args:
        classifier: any.

    Returns:
        R of a stack, 1 of any other.
    """
    return classifier.network.models if isinstance(classifier.network, Stacked) else 1


def snapshots(classifier: Classifier) -> list[dict[str, Tensor]]:
    """The network's weights and buffers, as they are now.

    Args:
        classifier: any.

    Returns:
        Name -> tensor for each model; views, not copies.
    """
    state = classifier.network.state_dict()
    if not isinstance(classifier.network, Stacked):
        return [state]
    return [{name: value[r] for name, value in state.items()} for r in range(models_in(classifier))]


@torch.no_grad()
def restore(classifier: Classifier, weights: Sequence[dict[str, Tensor]]) -> None:
    """Overwrite what ``snapshots`` showed.

    Args:
        classifier: changed in place.
        weights: by name, for each model.
    """
    for present, wanted in zip(snapshots(classifier), weights, strict=True):
        for name, value in wanted.items():
            present[name].copy_(value)
