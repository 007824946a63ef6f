"""What one stage of a recipe minimises, and in which arithmetic."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgepriv.models.features import Featured
from edgepriv.recipe import Quantize, Recipe, Stage
from edgepriv.training.device import PROCESSOR, device_of, multiplies_bfloat16
from edgepriv.training.extra import Extra
from edgepriv.training.objectives import Asked, Objective, objectives_of
from edgepriv.training.pgd import Budget
from edgepriv.training.pipeline import Pipeline
from edgepriv.training.stacked import Stacked, StackedMLP

_WIDE = 2**15  # weights of a perceptron's largest layer


@dataclass(frozen=True)
class Task:
    """What one stage minimises: ``loss`` of logits and labels, as its ``objectives`` change it; without any, a clean loss.

    "squared" is the mean squared error of probabilities against soft labels. ``bfloat16``, ``channels_last``, ``fold_norms``
    (in attacks) say how it is computed. ``device``: where; the classifier is moved there and back. ``pipeline``: the user's own
    batches and loss. ``extra``: what takes a share of each batch. ``watched``: inputs of non-members, float32 [n, ...], from
    which the ranges of rounded activations come.
    """

    stage: Stage
    objectives: tuple[Objective, ...] = ()
    bfloat16: bool = False
    channels_last: bool = False
    fold_norms: bool = False
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"
    device: torch.device = PROCESSOR
    pipeline: Pipeline | None = None
    extra: Extra | None = None
    watched: Tensor | None = None

    @property
    def budget(self) -> Budget | None:
        """Perturbations that are trained against; None for a clean stage."""
        return next((each.budget for each in self.objectives if each.budget is not None), None)

    @property
    def quantize(self) -> Quantize | None:
        """How weights are rounded; None for full width."""
        return next((each.quantize for each in self.objectives if each.quantize is not None), None)

    @property
    def activations(self) -> int | None:
        """Bits of the activations, where the file is to round them; None for floats."""
        return next((each.activations for each in self.objectives if each.activations is not None), None)

    @property
    def replays(self) -> int:
        """Updates of the weights for each batch."""
        return max((each.replays for each in self.objectives), default=1)

    @property
    def part(self) -> int | None:
        """Examples of a batch that are trained on at a time; None for all."""
        return next((each.part for each in self.objectives if each.part is not None), None)

    @property
    def copies(self) -> int:
        """Augmented copies of each example in a batch."""
        return max((each.copies for each in self.objectives), default=1)

    @property
    def teacher_share(self) -> float:
        """Of the teacher's answers in the loss, where the members have a teacher."""
        return next((each.teacher_share for each in self.objectives if each.teacher_share > 0), 0.0)


def task_of(
    network: nn.Module,
    recipe: Recipe,
    name: str,
    input_shape: tuple[int, ...],
    *,
    brief: bool = False,
    encoded: bool = False,
    records: int = 1,
    trained: bool = False,
) -> Task:
    """What a stage minimises.

    Args:
        network: to be trained.
        recipe: settings of the run.
        name: of the stage.
        input_shape: of one example.
        brief: for a rehearsal, see ``Asked``.
        encoded: whether the inputs are made of a table's columns, as there.
        records: the most records that one person has among the members.
        trained: whether the architecture brings trained weights along, as there.

    Returns:
        The task.
    """
    image_network, stacked = len(input_shape) == 3, isinstance(network, Stacked)
    objectives = objectives_of(Asked(recipe, name, input_shape, brief, encoded, records, trained))
    full = any(each.gradient is not None for each in objectives)
    exact = full or any(each.activations is not None for each in objectives)  # bfloat16 cannot tell 256 levels apart
    device = device_of(recipe.device)
    return Task(
        stage=getattr(recipe, name),
        objectives=objectives,
        bfloat16=not exact
        and (
            recipe.precision == "bfloat16"
            or (recipe.precision == "auto" and _gains_from_bfloat16(network, image_network, device))
        ),
        channels_last=not full and image_network and not stacked and recipe.precision != "float32",
        fold_norms=recipe.precision != "float32" and not stacked,
        device=device,
    )


def _gains_from_bfloat16(network: nn.Module, image_network: bool, device: torch.device) -> bool:
    """Where the processor multiplies bfloat16 natively; measured, it then halves the time of even LeNet-5's epochs, and takes
    a third off that of a stack of perceptrons, unless they are so small that casting costs more. The modulus of fixed features
    takes roots of small numbers, which are not."""
    if isinstance(network, Featured):
        return False
    if isinstance(network, StackedMLP):
        return device == PROCESSOR and multiplies_bfloat16() and network.widest >= _WIDE
    if isinstance(network, Stacked):
        return False
    convolves = any(isinstance(module, nn.Conv2d) for module in network.modules())
    return multiplies_bfloat16(device) and image_network and convolves
