"""What one stage of a recipe minimises, and in which arithmetic."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from edgepriv.recipe import Dp, Quantize, Recipe, Stage
from edgepriv.training.device import PROCESSOR, device_of, multiplies_bfloat16
from edgepriv.training.pgd import Budget, budget_of
from edgepriv.training.stacked import Stacked, StackedMLP

_WIDE = 2**15  # weights of a perceptron's largest layer


@dataclass(frozen=True)
class Task:
    """What one stage minimises. ``budget`` None: clean. ``quantize`` None: full-width weights. ``alpha``: share of the
    teacher's answers in the loss, where the members have a teacher.

    ``bfloat16``, ``channels_last``, ``fold_norms`` (in attacks) say how it is computed. ``loss``: of logits and labels;
    "squared" is the mean squared error of probabilities against soft labels. ``dropout``: see ``dropping``.
    ``dp``: differentially private. ``device``: where it is computed; the classifier is moved there and back.
    """

    stage: Stage
    budget: Budget | None = None
    quantize: Quantize | None = None
    bfloat16: bool = False
    channels_last: bool = False
    fold_norms: bool = False
    alpha: float = 0.0
    dp: Dp | None = None
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"
    dropout: float = 0.0
    device: torch.device = PROCESSOR


def task_of(network: nn.Module, recipe: Recipe, name: str, input_shape: tuple[int, ...]) -> Task:
    """What the stage ``name`` of ``recipe`` minimises."""
    stage = getattr(recipe, name)
    adversarial = stage.adversarial and recipe.adversary.method != "none"
    image_network, stacked = len(input_shape) == 3, isinstance(network, Stacked)
    dp = recipe.dp if recipe.dp.active and name == "train" else None
    device = device_of(recipe.device)
    return Task(
        stage=stage,
        budget=budget_of(recipe.adversary, input_shape) if adversarial else None,
        quantize=recipe.quantize if stage.quantized and recipe.quantize.active else None,
        bfloat16=dp is None
        and (
            recipe.precision == "bfloat16"
            or (recipe.precision == "auto" and _gains_from_bfloat16(network, image_network, device))
        ),
        channels_last=dp is None and image_network and not stacked and recipe.precision != "float32",
        fold_norms=recipe.precision != "float32" and not stacked,
        alpha=recipe.noise.alpha if name != "train" else 0.0,
        dp=dp,
        dropout=recipe.dropout_in(name),
        device=device,
    )


def _gains_from_bfloat16(network: nn.Module, image_network: bool, device: torch.device) -> bool:
    """Where the processor multiplies bfloat16 natively; measured, it then halves the time of even LeNet-5's epochs, and takes
    a third off that of a stack of perceptrons, unless they are so small that casting costs more."""
    if isinstance(network, StackedMLP):
        return device == PROCESSOR and multiplies_bfloat16() and network.widest >= _WIDE
    if isinstance(network, Stacked):
        return False
    convolves = any(isinstance(module, nn.Conv2d) for module in network.modules())
    return multiplies_bfloat16(device) and image_network and convolves
