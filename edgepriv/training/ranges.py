"""The ranges of activations while a network trains to round them: those that non-members give, seen again as it changes.

Jacob et al. 2018 (section 3.1) follow them by a moving average over the batches of training. Here no batch is looked at: the
privacy holdout is, or else the validation part, as calibration looks at it after training. So the ranges in the file tell
nothing of the members beyond what the weights do, and cost no epsilon where the weights are private.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from edgepriv.data import Dataset, Split
from edgepriv.errors import UserError
from edgepriv.models import Classifier
from edgepriv.models.rounded_activations import RANGES, attach, watch
from edgepriv.recipe import Recipe
from edgepriv.training.loss import Setup, laid_out
from edgepriv.training.task import Task

EXAMPLES = 256
_CALLED = {"holdout": "privacy holdout", "validation": "validation part"}

Placing = Callable[[Classifier, Recipe, tuple[int, ...]], Tensor]
"""Where a network is to round: see ``artifact.activation_places``, which knows the file."""


@dataclass(frozen=True, eq=False)
class Watched:
    """``inputs``: float32 [n >= 1, ...] in [0, 1], of non-members. ``role``: what they are in the split."""

    inputs: np.ndarray
    role: str


def watched_of(dataset: Dataset, split: Split) -> Watched | None:
    """Inputs that ranges of activations may come from: the privacy holdout, else the validation part; never members.

    Args:
        dataset: the examples.
        split: who is a member.

    Returns:
        ``EXAMPLES`` of them or all there are; None where there are neither.
    """
    for role, called in _CALLED.items():
        index = getattr(split, role)
        if len(index):
            drawn = np.sort(np.random.default_rng([split.seed, 6]).permutation(index)[:EXAMPLES])
            return Watched(dataset.inputs(drawn), called)
    return None


def refuse_nobody(watched: Watched | None) -> Watched:
    """Refuse to train ranges where only members are there to look at.

    Args:
        watched: of ``watched_of``.

    Returns:
        The same.

    Raises:
        UserError: for None.
    """
    if watched is None:
        raise UserError(
            "--qat-activations takes the ranges of activations from the privacy holdout or the validation part, never from "
            "members, and these data have neither: train with data.holdout or data.validation above 0 in a recipe"
        )
    return watched


def rounding(task: Task, classifier: Classifier, recipe: Recipe, places: Placing | None, watched: Watched) -> Task:
    """Make a network ready to round its activations in a stage.

    Args:
        task: of the stage.
        classifier: it gets the places, without ranges yet.
        recipe: that is trained by.
        places: finds them.
        watched: what the ranges come from.

    Returns:
        The task with these.
    """
    assert places is not None, "who trains with rounded activations says where they are"
    attach(classifier.network, places(classifier, recipe, watched.inputs.shape[1:]))
    return replace(task, watched=torch.from_numpy(watched.inputs))


def see_ranges(setup: Setup) -> None:
    """Set the ranges by the weights as they are now; nothing happens where activations are not rounded.

    Args:
        setup: of the stage; its classifier is in eval mode afterwards.
    """
    task, classifier = setup.task, setup.classifier
    if task.watched is None:
        return
    classifier.eval()
    x = laid_out(task.watched.to(task.device), task)
    ends = laid_out(torch.stack([torch.zeros_like(x[0]), torch.ones_like(x[0])]), task)
    weights = {name: weight.detach() for name, weight in setup.weights().items()}
    watch(classifier.network, weights, classifier.normalised(x), classifier.normalised(ends))


def seen_in(classifier: Classifier) -> dict[str, Tensor]:
    """The ranges in a classifier.

    Args:
        classifier: any.

    Returns:
        A copy, under the name that its state_dict has for them; empty without any.
    """
    return {name: value.detach().clone() for name, value in classifier.named_buffers() if name == f"network.{RANGES}"}
