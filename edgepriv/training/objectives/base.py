"""What a defence does while a stage trains: the hooks that the loop and the loss call, and what they are given."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgepriv.models import Classifier
from edgepriv.recipe import Quantize, Recipe, Stage
from edgepriv.training.examples import Examples
from edgepriv.training.generators import Generator
from edgepriv.training.pgd import Budget, Logits


@dataclass(frozen=True)
class Answers:
    """Answers to the members, as far as a retraining has come: ``total``, summed probabilities float64 [N, K] of the first
    ``done`` sub-models."""

    total: Tensor
    done: int


@dataclass(frozen=True)
class Retraining:
    """What a stage that starts from new weights makes its members of.

    Args:
        teacher: the classifier as it is before the stage, on the processor.
        members: of the split.
        holdout: of the split.
        units: int64 [N], members of one number are one person's; None where each stands for itself.
        public: inputs [M, ...] of the user's public file, as ``members.x``; None without one.
        copied: () -> bool [H], which of the holdout are equal to an example outside it.
        quiet: show no progress.
        trained: (members, seed) -> a new classifier that the stage's own settings have trained on these, on the processor.
        so_far: what a killed run has left; None at the beginning.
        keep: is given what a killed run goes on from.
    """

    teacher: Classifier
    members: Examples
    holdout: Examples
    units: np.ndarray | None = None
    public: Tensor | None = None
    copied: Callable[[], np.ndarray] | None = None
    quiet: bool = True
    trained: Callable[[Examples, int], Classifier] | None = None
    so_far: Answers | None = None
    keep: Callable[[Answers], None] = lambda answers: None


@dataclass(frozen=True)
class Asked:
    """What an objective is made for.

    Args:
        recipe: that asks for it.
        stage: name of the stage that trains.
        input_shape: of one example.
        brief: for a rehearsal: one step of whatever takes many, on a handful of examples.
        encoded: whether the inputs are made of a table's columns, by an encoding that is learnt from the members.
        records: the most records that one person has among the members.
        trained: whether the user's own code gives the network weights that are not drawn at random.
    """

    recipe: Recipe
    stage: str
    input_shape: tuple[int, ...]
    brief: bool = False
    encoded: bool = False
    records: int = 1
    trained: bool = False

    @property
    def settings(self) -> Stage:
        """The stage's own section."""
        section: Stage = getattr(self.recipe, self.stage)
        return section


@dataclass(frozen=True)
class Ground:
    """What a run of stages stands on, before it begins: its network, and how many classes, members and holdout examples."""

    network: nn.Module
    classes: int
    members: int
    holdout: int


@dataclass(frozen=True)
class Batch:
    """One batch, and the classifier as it is trained on it. A stack's batch holds those of its R models one after another.

    Args:
        x: what is trained on, float32 [N, ...] in [0, 1].
        y: labels int64 [N], or soft labels float32 [N, K].
        clean: the batch before any perturbation, as ``x``.
        taught: a teacher's log-probabilities [N, K]; None without a teacher.
        epoch: counted from 0.
        members: how many the stage trains on.
        models: R of a stack, else 1.
        generator: draws whatever is random, on the processor.
        classifier: in train mode.
        weights: what stands in for some parameters, such as fake-quantized ones, by name: differentiable functions of them.
        logits_of: inputs [N, ...] -> logits float32 [N, K] in train mode, as the update sees the network.
        frozen: while this context lasts the classifier is in eval mode; it yields the same as ``logits_of`` for attacks: no
            gradient reaches the weights, and each example is asked by itself.
        others: so many examples of the holdout, drawn with replacement: float32 [n, ...].
        classes: K, which hard labels do not tell.
    """

    x: Tensor
    y: Tensor
    clean: Tensor
    taught: Tensor | None
    epoch: int
    members: int
    models: int
    generator: Generator
    classifier: Classifier
    weights: Mapping[str, Tensor]
    logits_of: Logits
    frozen: Callable[[], AbstractContextManager[Logits]]
    others: Callable[[int], Tensor]
    classes: Callable[[], int]

    def mean(self, total: Tensor) -> Tensor:
        """The mean of a batch, so that no model's gradient depends on how many there are.

        Args:
            total: sum over the batch.

        Returns:
            Sum of the models' means.
        """
        return total / (len(self.y) // self.models)


Loss = Callable[[Batch, Tensor], Tensor]
"""Of a batch and the logits float32 [N, K] of its ``x``: a scalar, the sum of the stacked models' means."""


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _nothing(ground: Ground) -> None:
    return


@dataclass(frozen=True)
class Objective:
    """The hooks of one defence in one stage. What is left out stays as it is without the defence.

    Args:
        name: the defence's, set by ``objectives_of``.
        prepared: the batch that is trained on instead: perturbed, mixed, relabelled.
        loss: instead of the task's own. At most one objective of a stage has it.
        term: added to the loss.
        teacher_share: weight, in [0, 1], of the divergence from the teacher's answers, where the members have a teacher;
            the loss has the rest.
        around: a context of the network, entered for each step.
        gradient: adds to ``grad`` of every parameter itself, instead of differentiating a loss; returns the batch's mean loss
            and logits [N, K]. It is given full precision.
        part: examples of a batch that ``gradient`` is given at a time; None for all.
        finished: (network, members): changes the gradients of a batch once those of all its parts are there.
        batches: members -> the indices int64 of each batch of an epoch, instead of a shuffled pass.
        draws: the generator of these two, where they can be repeated: its state is kept with the stage's.
        secret: whether nobody may be able to repeat whatever else the stage draws: augmentation, starts of attacks, dropout.
        copies: of each example in a batch, one after another, each augmented by itself.
        moved: a context of the network that moves its weights by the gradients that they have, and back: the gradient that
            counts is then taken of the same batch once more, where they are.
        replays: updates of the weights for each batch.
        retrained: the members that are trained on instead, and what was measured, as JSON. It is called as the defence's own
            stage begins, which starts from new weights; later stages see these members too.
        facts: (members, epochs) -> what the stage has measured, as JSON, once it is over.
        refuse: raises UserError, before anything is trained, where it cannot work.
        budget: perturbations that it trains against; held-out accuracy is measured under the same radius.
        quantize: how the weights are rounded while the stage trains.
        activations: bits of the activations, rounded where the file that ships rounds them; None for floats.
        epochs: after which all that it does has happened once.
        title: what the progress bar says of it.
        remedy: what helps when the model stops learning, in the words of an option.
    """

    name: str = ""
    prepared: Callable[[Batch], Batch] = _as_it_is
    loss: Loss | None = None
    term: Loss | None = None
    teacher_share: float = 0.0
    around: Callable[[nn.Module], AbstractContextManager[None]] = lambda network: nullcontext()
    gradient: Callable[[Batch], tuple[Tensor, Tensor]] | None = None
    part: int | None = None
    finished: Callable[[nn.Module, int], None] | None = None
    batches: Callable[[int], Iterator[Tensor]] | None = None
    draws: torch.Generator | None = None
    secret: bool = False
    copies: int = 1
    moved: Callable[[nn.Module], AbstractContextManager[None]] | None = None
    replays: int = 1
    retrained: Callable[[Retraining], tuple[Examples, dict[str, Any]]] | None = None
    facts: Callable[[int, int], dict[str, Any]] | None = None
    refuse: Callable[[Ground], None] = _nothing
    budget: Budget | None = None
    quantize: Quantize | None = None
    activations: int | None = None
    epochs: int = 1
    title: str = ""
    remedy: str = ""


Make = Callable[[Asked], Objective]
"""What a module of this package offers under the name ``objective``."""
